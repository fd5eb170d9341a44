"""The containers that dplaunch starts, one on each node: seen, judged, started, removed.

A session runs inside where the container runs, else on the machine itself (``transport.enter``).
"""

from __future__ import annotations

from dplaunch.fleet.containers.judge import judge
from dplaunch.fleet.containers.look import is_inside, look, started_by_us
from dplaunch.fleet.containers.prepare import foresee, is_replaced, start_containers
from dplaunch.fleet.containers.remove import remove_containers

__all__ = [
    "foresee",
    "is_inside",
    "is_replaced",
    "judge",
    "look",
    "remove_containers",
    "start_containers",
    "started_by_us",
]
