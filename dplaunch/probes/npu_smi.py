"""``npu-smi``: what its tables say. Parsers only; a line that is none of them says nothing."""

from __future__ import annotations

import re
from typing import NamedTuple

from dplaunch.model.check import Command
from dplaunch.probes.ascend import argv

_CARD = re.compile(r"^\| (\d{1,4}) +([^|]*?\S) +\| ([A-Za-z]+) +\| ", re.ASCII)
_CHIP = re.compile(r"^\| (\d{1,4})(?: +(\d{1,4}))? +\|[^|]+\| .*?(\d{1,9}) */ *(\d{1,9}) *\|\s*$", re.ASCII)
_PROCESS = re.compile(r"^\| (\d{1,4}) +(\d{1,4}) +\| (\d{1,10}) +\|([^|]*)\| *(\d{1,9}) *\|\s*$", re.ASCII)
_LISTED = re.compile(r"^\s*(Total Count|Card Count|Chip Count)\s*: *(\d{1,4})\s*$", re.ASCII | re.MULTILINE)
_MAPPED = re.compile(r"^\s*(\d{1,4})\s+(\d{1,4})\s+(\d{1,4})\s+(?:(\d{1,4})\s+)?([A-Z].*?)\s*$", re.ASCII)
_SUPER_POD = re.compile(r"(SDID|Super Pod Size|Super Pod ID|Server Index)\s*: *(\d{1,10})(?!\d)", re.ASCII)
_FIELDS = {"SDID": "sdid", "Super Pod Size": "size", "Super Pod ID": "pod", "Server Index": "server"}


class Chip(NamedTuple):
    """One device of ``npu-smi info``. ``device`` is what the engine and hccn_tool call it."""

    device: int
    card: int
    chip: int
    name: str
    health: str
    used: int
    """MB of HBM."""
    total: int


class Holder(NamedTuple):
    """One row of the process table. In a container the name is empty and the pid the machine's."""

    card: int
    chip: int
    pid: int
    name: str
    megabytes: int


LONGEST = 200
"""Characters of a line: no row of a table is longer."""


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) <= LONGEST]


def command(key: str, *words: str) -> Command:
    """One call of ``npu-smi``; they run one after another."""
    return Command(key=key, argv=argv("npu-smi", *words), timeout=15.0, lane="npu-smi")


def chips(text: str) -> list[Chip]:
    """Devices of ``npu-smi info``: a row of the card, then one of the chip, both whole."""
    found: list[Chip] = []
    card: re.Match[str] | None = None
    for line in _lines(text):
        row = _CHIP.match(line)
        if row and card:
            found.append(_chip(card, row))
        card = None if row else _CARD.match(line)
    return found


def _chip(card: re.Match[str], row: re.Match[str]) -> Chip:
    """An A3 names the physical device beside the chip; an A2's is that of its card."""
    number, name, health = card.groups()
    chip, physical, used, total = row.groups()
    return Chip(int(physical or number), int(number), int(chip), name, health, int(used), int(total))


def holders(text: str) -> list[Holder]:
    """The process table of ``npu-smi info``."""
    rows = (_PROCESS.match(line) for line in _lines(text))
    return [Holder(int(row[1]), int(row[2]), int(row[3]), row[4].strip(), int(row[5])) for row in rows if row]


def cut_short(text: str) -> bool:
    """Whether the table of devices ends before its frame does, or was never begun."""
    lines = [line for line in _lines(text) if line.strip()]
    return not lines or "Process id" not in text or not lines[-1].startswith("+")


def listed(text: str) -> tuple[int, int]:
    """Cards and chips of ``npu-smi info -l``; 0 where it does not say."""
    counts = [(match[1], int(match[2])) for match in _LISTED.finditer("\n".join(_lines(text)))]
    cards = next((count for key, count in counts if key != "Chip Count"), 0)
    return cards, sum(count for key, count in counts if key == "Chip Count")


def mapped(text: str) -> list[tuple[int, str]]:
    """Device and chip name of ``npu-smi info -m``, without what is no computing device (Mcu)."""
    rows = (_MAPPED.match(line) for line in _lines(text))
    return [(int(row[4] or row[3]), row[5]) for row in rows if row]


def super_pod(text: str) -> dict[str, int]:
    """``sdid``, ``size``, ``pod`` and ``server`` of ``npu-smi info -t spod-info``, those it names."""
    return {_FIELDS[match[1]]: int(match[2]) for match in _SUPER_POD.finditer(text)}
