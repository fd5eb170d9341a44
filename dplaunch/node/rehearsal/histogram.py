"""A Prometheus histogram of seconds."""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate

EDGES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper edges of its buckets."""


class Histogram:
    """Counts what is observed by size."""

    def __init__(self) -> None:
        self._counts = [0] * (len(EDGES) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float, times: int = 1) -> None:
        """Something took so long, so many times."""
        with self._lock:
            self._counts[bisect_left(EDGES, seconds)] += times
            self._sum += seconds * times

    def lines(self, name: str, labels: str = "") -> list[str]:
        """Its series, without the line of their type; ``labels`` as between braces."""
        before = f"{labels}," if labels else ""
        with self._lock:
            below, total = list(accumulate(self._counts)), self._sum
        buckets = [
            f'{name}_bucket{{{before}le="{edge}"}} {count}' for edge, count in zip((*EDGES, "+Inf"), below)
        ]
        inner = f"{{{labels}}}" if labels else ""
        return [*buckets, f"{name}_sum{inner} {total}", f"{name}_count{inner} {below[-1]}"]
