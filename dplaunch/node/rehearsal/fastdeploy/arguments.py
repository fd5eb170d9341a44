"""Command lines as FastDeploy's parsers take them."""

from __future__ import annotations

import os

from ..vllm.log import ERR, write

FLAGS = "flags.txt"
SWITCHES = ("--enable-", "--disable-", "--no-", "--use-internode", "--dynamic-load-weight", "--splitwise")
VALUED = ("--splitwise-role",)


class UsageError(Exception):
    """What argparse refuses; the text is its message."""


def known() -> frozenset[str]:
    """Every flag of the servers."""
    path = os.path.join(os.path.dirname(__file__), FLAGS)
    with open(path, encoding="utf-8") as file:
        return frozenset(f"--{line.strip()}" for line in file if line.strip())


def parse(words: list[str], flags: frozenset[str] | None = None) -> dict[str, str]:
    """Flag without its dashes → value, ``true`` for a switch. ``flags``: those that exist; None: any."""
    found: dict[str, str] = {}
    place = 0
    while place < len(words):
        name, equals, value = words[place].partition("=")
        place += 1
        if not name.startswith("--") or (flags is not None and name not in flags):
            raise UsageError(f"unrecognized arguments: {name}")
        if not equals:
            if name.startswith(SWITCHES) and name not in VALUED:
                value = "true"
            elif place < len(words):
                value = words[place]
                place += 1
            else:
                raise UsageError(f"argument {name}: expected one argument")
        found[name[2:]] = value
    return found


def refuse(program: str, fault: UsageError) -> int:
    """Write what argparse writes; its exit code."""
    write(ERR, f"usage: {program}.py [-h] ...\n{program}.py: error: {fault}")
    return 2


def numbers(text: str) -> list[int]:
    """``"9000,9001"`` → [9000, 9001]."""
    return [int(item) for item in text.split(",") if item.strip()]
