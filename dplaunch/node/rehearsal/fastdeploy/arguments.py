"""Command lines as FastDeploy's parsers take them."""

from __future__ import annotations

from ..vllm.log import ERR, write

SWITCHES = ("flag", "bool")
"""Kinds of flags that take no value; the latter also have a ``--no-`` form."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class UsageError(Exception):
    """What argparse refuses; the text is its message."""


def known(path: str) -> dict[str, str]:
    """Every flag of the servers → its kind, from a file with a line for each."""
    found: dict[str, str] = {}
    with open(path, encoding="utf-8") as file:
        for name, kind in (line.split() for line in file):
            found[f"--{name}"] = kind
            if kind == "bool":
                found[f"--no-{name}"] = kind
    return found


def parse(words: list[str], flags: Mapping[str, str]) -> dict[str, str]:
    """Flag without its dashes → value, ``true`` for a switch; ``flags`` has the kind of each."""
    found: dict[str, str] = {}
    place = 0
    while place < len(words):
        name, equals, value = words[place].partition("=")
        place += 1
        if name not in flags:
            raise UsageError(f"unrecognized arguments: {name}")
        if flags[name] in SWITCHES:
            value = "true"
        elif not equals:
            if place == len(words):
                raise UsageError(f"argument {name}: expected one argument")
            value = words[place]
            place += 1
        found[name[2:]] = value
    return found


def refuse(program: str, fault: UsageError) -> int:
    """Write what argparse writes; its exit code."""
    write(ERR, f"usage: {program}.py [-h] ...\n{program}.py: error: {fault}")
    return 2


def numbers(text: str) -> list[int]:
    """``"9000,9001"`` → [9000, 9001]."""
    return [int(item) for item in text.split(",") if item.strip()]
