"""Counters and their Prometheus text, added up over workers.

Each worker writes its numbers to a file once a second; the one that is asked adds the others'
files to its own numbers, so they are at most a second old. Rendered here: a text this small
needs no library that an engine's Python may not have.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from .state import State

HELP = {
    "dprouter_requests_total": "counter: answered requests by path and status",
    "dprouter_client_requests_total": "counter: requests by the name of the client's key",
    "dprouter_retries_total": "counter: requests tried again on another engine before their first byte",
    "dprouter_cut_streams_total": "counter: answers cut after their first byte, because their engine failed",
    "dprouter_disconnects_total": "counter: requests whose client went away",
    "dprouter_unserved_total": "counter: requests answered 503 because a needed role did not serve",
    "dprouter_prefill_without_kv_total": "counter: requests whose decode engine got no KV from prefill",
    "dprouter_skipped_prefill_total": "counter: requests that an engine of the decode role computed alone",
    "dprouter_recomputed_total": "counter: answers given up by their engine (stop_reason recomputed)",
    "dprouter_first_byte_seconds": "histogram: from a request's body to the first byte of its answer",
    "dprouter_member_requests": "gauge: requests of this router on the engine, or with KV to fetch from it",
    "dprouter_member_tokens": "gauge: estimated tokens of these requests",
    "dprouter_member_largest_bytes": "gauge: bytes of the largest request that waits for it, workers added",
    "dprouter_member_up": "gauge: the engine answers its health check",
    "dprouter_member_stuck": "gauge: the engine answers its health check, and no requests",
    "dprouter_member_running": "gauge: requests in work, as the engine counts them",
    "dprouter_member_waiting": "gauge: requests in the engine's own queue",
    "dprouter_ready": "gauge: each needed role has a group that serves",
}
LARGEST = "dprouter_member_largest_bytes"
EDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Seconds; upper edges of the first-byte histogram."""


def series(name: str, **labels: str) -> str:
    """``name{a="b"}``, escaped."""
    inner = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{name}{{{inner}}}" if inner else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Metrics:
    """This worker's counters."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        self.counts[series(name, **labels)] += 1

    def first_byte(self, seconds: float) -> None:
        """An answer began ``seconds`` after its request was read."""
        name = "dprouter_first_byte_seconds"
        for edge in EDGES:
            self.counts[f'{name}_bucket{{le="{edge}"}}'] += seconds <= edge
        self.counts[f'{name}_bucket{{le="+Inf"}}'] += 1
        self.counts[f"{name}_count"] += 1
        self.counts[f"{name}_sum"] += seconds  # type: ignore[assignment]  # Counter is typed for ints; a sum of seconds is none


def shared(metrics: Metrics, state: State) -> dict[str, float]:
    """The numbers that add up over workers."""
    numbers: dict[str, float] = dict(metrics.counts)
    for member in state.members.values():
        labels = {"member": member.entry.name, "role": member.entry.role, "group": member.entry.group}
        numbers[series("dprouter_member_requests", **labels)] = member.requests
        numbers[series("dprouter_member_tokens", **labels)] = member.tokens
        numbers[series(LARGEST, **labels)] = member.largest
    return numbers


def seen(state: State) -> dict[str, float]:
    """The numbers that every worker sees for itself: adding them up would be wrong."""
    numbers: dict[str, float] = {"dprouter_ready": float(state.ready())}
    for member in state.members.values():
        labels = {"member": member.entry.name, "role": member.entry.role, "group": member.entry.group}
        numbers[series("dprouter_member_up", **labels)] = float(member.alive)
        numbers[series("dprouter_member_stuck", **labels)] = float(bool(member.stuck))
        numbers[series("dprouter_member_running", **labels)] = member.running
        numbers[series("dprouter_member_waiting", **labels)] = member.waiting
    return numbers


def hear(state: State, others: Iterable[Mapping[str, float]]) -> None:
    """Note of each engine how large a request of other workers it may be at: what is patient here too."""
    parts = list(others)
    for member in state.members.values():
        labels = {"member": member.entry.name, "role": member.entry.role, "group": member.entry.group}
        name = series(LARGEST, **labels)
        member.largest_elsewhere = max((int(part.get(name, 0)) for part in parts), default=0)


def added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Series by series, the sum."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def total(numbers: Mapping[str, float], name: str) -> float:
    """The sum over all series of ``name``."""
    return sum(value for series, value in numbers.items() if series.partition("{")[0] == name)


def text(numbers: Mapping[str, float]) -> str:
    """The Prometheus text format, each family under its type."""
    families: dict[str, list[str]] = {}
    for family, meaning in HELP.items():
        kind, _, words = meaning.partition(": ")
        families[family] = [f"# HELP {family} {words}", f"# TYPE {family} {kind}"]
    for name, value in numbers.items():
        families[_family(name)].append(f"{name} {value:.15g}")
    return "\n".join(line for lines in families.values() for line in lines) + "\n"


def _family(name: str) -> str:
    base = name.partition("{")[0]
    for ending in ("_bucket", "_count", "_sum"):
        if base.endswith(ending):
            return base[: -len(ending)]
    return base


class Exchange:
    """A folder in which each worker leaves its numbers for the others; without one, there are none."""

    def __init__(self, folder: str, index: int) -> None:
        self._folder = Path(folder) if folder else None
        self._own = f"{index}.json"

    def put(self, numbers: Mapping[str, float]) -> None:
        """Leave this worker's numbers, by rename."""
        if self._folder is None:
            return
        fresh = self._folder / f"{self._own}.new"
        # A full disk costs the sum over workers, not the worker.
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(numbers), encoding="utf-8")
            fresh.replace(self._folder / self._own)

    def others(self) -> list[dict[str, float]]:
        """What the other workers left last."""
        files = self._folder.glob("*.json") if self._folder is not None else ()
        found = []
        for file in files:
            if file.name != self._own:
                with contextlib.suppress(OSError, ValueError):  # cut off by a full disk, or just removed
                    found.append(json.loads(file.read_text(encoding="utf-8")))
        return found
