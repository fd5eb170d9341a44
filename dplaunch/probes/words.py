"""Small things that parsers and judgements share."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.check import Facts, Finding, Level, Output
from dplaunch.probes.probe import Outputs
from dplaunch.ranges import ranges

NO_ANSWER = Output(problem="no answer")
CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")
SHOWN = 80


def clean(text: str) -> str:
    """Without colours and control characters: what a sick tool prints never reaches a terminal as it is."""
    return CONTROL.sub("", text)


def answer(outputs: Outputs, key: str) -> Output:
    """The output of a command; one that says so when there is none."""
    return outputs.get(key, NO_ANSWER)


def last_words(output: Output) -> str:
    """Why a command failed, in its own words: the last line it left."""
    said = clean(output.err or output.out).strip().splitlines()
    return said[-1].strip()[:160] if said else output.problem or f"exit code {output.code}"


def last_json(text: str) -> dict[str, Any]:
    """The last line that is a JSON object: lines of runtime.setup may print before it. Empty when none is."""
    for line in reversed(text.splitlines()):
        if line.strip().startswith("{"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def devices(numbers: Iterable[int | str]) -> str:
    """``device 3``, ``devices 0-7``."""
    known = {int(number) for number in numbers}
    return f"device{'s' if len(known) > 1 else ''} {ranges(known)}"


def unread(key: str, output: Output) -> str:
    """One line that says what of a command could not be read."""
    said = clean(output.out or output.err).strip().splitlines()
    first = said[0][:SHOWN] if said else "nothing"
    return f"{key}: {output.problem or f'printed {first!r}'}"


def odd_ones(values: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The value most nodes have, and node → value for the others. Of equally many the first node's counts.

    Values must be hashable; an empty mapping has no value (None).
    """
    if not values:
        return None, {}
    counts = Counter(values.values())
    most = max(counts.values())
    common = next(value for value in values.values() if counts[value] == most)
    return common, {node: value for node, value in values.items() if value != common}


def shown_list(items: Sequence[object], most: int = 8) -> str:
    """``0, 1, 2 … (16 in all)``."""
    head = ", ".join(str(item) for item in items[:most])
    return head if len(items) <= most else f"{head} … ({len(items)} in all)"


def unread_finding(probe: str, node: str, facts: Facts) -> Iterator[Finding]:
    """One warning for all that could not be read on a node."""
    unread = facts.get("unread") or []
    if unread:
        text = f"could not be read: {shown_list([clean(str(line)) for line in unread], 3)}"
        yield Finding(probe=probe, level=Level.WARN, text=text, node=node, remedy="run the command by hand")
