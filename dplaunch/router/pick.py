"""Which engine takes the next request: a pure function of a snapshot.

A group is one DP group: its engines rendezvous and die together, so a group with one member
that does not serve takes no requests at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class Candidate(NamedTuple):
    """One engine as seen at this moment."""

    name: str
    role: str
    group: str
    serving: bool = True
    """It is alive, and in a state in which it takes this request."""
    suspect: bool = False
    """It answered with a server error a moment ago. A broken engine fails fast, so by load alone
    it would look idle and draw every request."""
    tokens: float = 0
    """Outstanding tokens this router sent to it."""
    foreign: int = 0
    """Requests in it that this router did not send: other workers', other clients'."""
    waiting: int = 0
    """Requests in its own queue."""


def open_groups(candidates: Sequence[Candidate], role: str) -> frozenset[str]:
    """Groups of ``role`` in which every member serves."""
    some: set[str] = set()
    closed: set[str] = set()
    for candidate in candidates:
        if candidate.role == role:
            (some if candidate.serving else closed).add(candidate.group)
    return frozenset(some - closed)


def load(candidate: Candidate, typical: float) -> float:
    """Tokens to wait for. ``typical`` is the tokens of one request of unknown size.

    A queued request counts on top of its tokens: what waits in an engine found no room there.
    """
    return candidate.tokens + (candidate.foreign + candidate.waiting) * typical


def choose(
    candidates: Sequence[Candidate],
    role: str,
    *,
    policy: str = "tokens",
    turn: int = 0,
    typical: float = 1.0,
    avoid: AbstractSet[str] = frozenset(),
) -> Candidate | None:
    """The engine of ``role`` for the next request, or None when no group of that role is open.

    Groups in ``avoid`` (tried before for this request) and suspects are taken only when nothing
    else is open. ``turn`` counts up with each call: it spreads ties, and is round-robin's position.
    """
    seats = _seats(candidates, role, avoid)
    if not seats:
        return None
    if policy == "tokens":
        loads = [load(seat, typical) for seat in seats]
        least = min(loads)
        seats = [seat for seat, tokens in zip(seats, loads) if tokens == least]
    return seats[turn % len(seats)]


def _seats(candidates: Sequence[Candidate], role: str, avoid: AbstractSet[str]) -> list[Candidate]:
    groups = open_groups(candidates, role)
    wanted = groups - avoid or groups
    pool = [c for c in candidates if c.role == role and c.group in wanted]
    return [c for c in pool if not c.suspect] or pool
