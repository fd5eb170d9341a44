"""``npu-smi``: how to call it, and parsers of its tables, which skip every other line."""

from __future__ import annotations

import re
from typing import NamedTuple

from dplaunch.model.check import Command
from dplaunch.probes.ascend import make_argv

_CARD = re.compile(r"^\| (\d{1,4}) +([^|]*?\S) +\| ([A-Za-z]+) +\| ", re.ASCII)
_CHIP = re.compile(r"^\| (\d{1,4})(?: +(\d{1,4}))? +\|[^|]+\| .*?(\d{1,9}) */ *(\d{1,9}) *\|\s*$", re.ASCII)
_PROCESS = re.compile(r"^\| (\d{1,4}) +(\d{1,4}) +\| (\d{1,10}) +\|([^|]*)\| *(\d{1,9}) *\|\s*$", re.ASCII)
_LISTED = re.compile(r"^\s*(Total Count|Card Count|Chip Count)\s*: *(\d{1,4})\s*$", re.ASCII | re.MULTILINE)
_MAPPED = re.compile(r"^\s*(\d{1,4})\s+(\d{1,4})\s+(\d{1,4})\s+(?:(\d{1,4})\s+)?([A-Z].*?)\s*$", re.ASCII)
_SUPER_POD = re.compile(r"(SDID|Super Pod Size|Super Pod ID|Server Index)\s*: *(\d{1,10})(?!\d)", re.ASCII)
_FIELDS = {"SDID": "sdid", "Super Pod Size": "size", "Super Pod ID": "pod", "Server Index": "server"}


class Chip(NamedTuple):
    """One device of ``npu-smi info``. ``device`` is its number for the engine and for hccn_tool."""

    device: int
    card: int
    chip: int
    name: str
    health: str
    used: int
    """MB of HBM."""
    total: int


class MemoryHolder(NamedTuple):
    """A row of the process table. In a container the name is empty and the pid is the machine's."""

    card: int
    chip: int
    pid: int
    name: str
    megabytes: int


LONGEST = 200
"""Characters: no row of a table is longer."""


def _split_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) <= LONGEST]


def make_command(key: str, *words: str) -> Command:
    """Return a call of ``npu-smi``; calls run one after another."""
    return Command(key=key, argv=make_argv("npu-smi", *words), timeout=15.0, lane="npu-smi")


def parse_chips(text: str) -> list[Chip]:
    """Return the devices of ``npu-smi info``: each has a row of its card and a row of its chip."""
    found: list[Chip] = []
    card: re.Match[str] | None = None
    for line in _split_lines(text):
        row = _CHIP.match(line)
        if row and card:
            found.append(_make_chip(card, row))
        card = None if row else _CARD.match(line)
    return found


def _make_chip(card: re.Match[str], row: re.Match[str]) -> Chip:
    """An A3 prints the physical device next to the chip; on an A2 it is the number of the card."""
    number, name, health = card.groups()
    chip, physical, used, total = row.groups()
    return Chip(int(physical or number), int(number), int(chip), name, health, int(used), int(total))


def parse_holders(text: str) -> list[MemoryHolder]:
    """Return the process table of ``npu-smi info``."""
    rows = (_PROCESS.match(line) for line in _split_lines(text))
    return [
        MemoryHolder(int(row[1]), int(row[2]), int(row[3]), row[4].strip(), int(row[5]))
        for row in rows
        if row
    ]


def is_cut_off(text: str) -> bool:
    """Return whether the end of the tables is missing, or all of them."""
    lines = [line for line in _split_lines(text) if line.strip()]
    return not lines or "Process id" not in text or not lines[-1].startswith("+")


def parse_list(text: str) -> tuple[int, int]:
    """Return the numbers of cards and chips of ``npu-smi info -l``; 0 for a number that is missing."""
    counts = [(match[1], int(match[2])) for match in _LISTED.finditer("\n".join(_split_lines(text)))]
    cards = next((count for key, count in counts if key != "Chip Count"), 0)
    return cards, sum(count for key, count in counts if key == "Chip Count")


def parse_map(text: str) -> list[tuple[int, str]]:
    """Return device and chip name of ``npu-smi info -m``, without chips that do not compute (Mcu)."""
    rows = (_MAPPED.match(line) for line in _split_lines(text))
    return [(int(row[4] or row[3]), row[5]) for row in rows if row]


def parse_super_pod(text: str) -> dict[str, int]:
    """Return ``sdid``, ``size``, ``pod`` and ``server`` of ``npu-smi info -t spod-info``, as printed."""
    return {_FIELDS[match[1]]: int(match[2]) for match in _SUPER_POD.finditer(text)}
