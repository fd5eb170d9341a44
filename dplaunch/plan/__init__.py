"""Seats and ports (arithmetic), the plan as a value, and what it changes. Asks no host anything."""

from __future__ import annotations

from dplaunch.plan.build import build, commands, overlaps
from dplaunch.plan.check import check
from dplaunch.plan.document import compare, dump, from_json, load, to_json
from dplaunch.plan.rehearse import rehearsed

__all__ = [
    "build",
    "check",
    "commands",
    "compare",
    "dump",
    "from_json",
    "load",
    "overlaps",
    "rehearsed",
    "to_json",
]
