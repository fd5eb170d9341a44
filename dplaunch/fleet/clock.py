"""Clocks of nodes, against each other: the operator's own does not matter."""

from __future__ import annotations

import statistics

from dplaunch.fleet.fleet import Fleet


def ahead(fleet: Fleet) -> dict[str, float]:
    """Node → seconds by which its clock is ahead of the middle of all, for nodes that were reached.

    Exact to the time that a first line takes from the node to here.
    """
    offsets = {name: float(s.hello["clock"]) - s.heard for name, s in fleet.sessions.items()}
    middle = statistics.median_low(offsets.values()) if offsets else 0.0
    return {name: offset - middle for name, offset in offsets.items()}
