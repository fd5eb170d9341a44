"""What judgements of several probes have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Facts, Finding, Level
from dplaunch.probes.outputs import clean
from dplaunch.ranges import ranges

OUTSIDE = "a process outside this container"
"""The holder of a device if the tool does not name one."""


def name_devices(numbers: Iterable[int | str]) -> str:
    """Return ``device 3`` or ``devices 0-7``."""
    known = {int(number) for number in numbers}
    return f"device{'s' if len(known) > 1 else ''} {ranges(known)}"


def name_some(numbers: Collection[int], count: int) -> str:
    """Return ``8`` where the numbers are all that a node has, else ``devices 4-7 of 8``."""
    return str(count) if count == len(numbers) else f"{name_devices(numbers)} of {count}"


def list_some(items: Sequence[object], most: int = 8) -> str:
    """Return ``0, 1, 2 … (16 in all)``: at most ``most`` of the items."""
    head = ", ".join(str(item) for item in items[:most])
    return head if len(items) <= most else f"{head} … ({len(items)} in all)"


def find_outliers(values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return the most frequent value, and name → value for the names that have another one.

    If several values are equally frequent, the first one wins. Values must be hashable. Of an empty mapping
    the most frequent value is None.
    """
    if not values:
        return None, {}
    counts = Counter(values.values())
    most = max(counts.values())
    common = next(value for value in values.values() if counts[value] == most)
    return common, {name: value for name, value in values.items() if value != common}


def report_unread(probe: str, node: str, facts: Facts) -> Iterator[Finding]:
    """Yield one warning about everything that could not be read on a node."""
    unread = facts.get("unread") or []
    if unread:
        text = f"could not be read: {list_some([clean(str(line)) for line in unread], 3)}"
        yield Finding(probe=probe, level=Level.WARN, text=text, node=node, remedy="run the command by hand")
