"""What the router knows about its engines: counts and health, from which snapshots are made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from urllib.parse import urlsplit

from .members import Entry, Membership
from .pick import Candidate, choose, open_groups

SUSPECT_SECONDS = 5.0
SLOW_ANSWERS = 3
"""So many health checks in a row may time out: a busy engine is not a dead one."""


class Member:
    """One engine. Counts are this worker's own; ``running`` and ``waiting`` are the engine's."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        parts = urlsplit(entry.url)
        self.netloc = parts.netloc
        self.address = (parts.hostname or "", parts.port or 80)
        self.alive = False
        self.reason = "not asked yet"
        self.requests = 0
        self.tokens = 0.0
        self.running = 0
        self.waiting = 0
        self.foreign = 0
        self.slow = 0
        self.lost_at = float("-inf")
        self.suspect_until = float("-inf")

    def candidate(self, now: float) -> Candidate:
        """This engine as ``pick`` sees it."""
        entry = self.entry
        return Candidate(
            entry.name,
            entry.role,
            entry.group,
            serving=self.alive and not entry.draining,
            suspect=now < self.suspect_until,
            tokens=self.tokens,
            foreign=self.foreign,
            waiting=self.waiting,
        )


class State:
    """All engines. Not thread-safe: it lives on one event loop."""

    def __init__(self, policy: str = "tokens", clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self.clock = clock
        self.members: dict[str, Member] = {}
        self.membership = Membership()
        self.problem = "no members file was read yet"
        self.typical = 512.0
        self._ready: bool | None = None
        """Known until an engine comes, goes or drains: it is asked for every request."""
        # Workers that all start at 0 would send their first requests to the same engine.
        self._turns = {role: random.randrange(1 << 16) for role in ("prefill", "decode", "serve")}  # noqa: S311 - spreads load, guards nothing

    def apply(self, membership: Membership) -> None:
        """Take over a new members file; an engine that keeps name and address keeps its health."""
        kept = {}
        for entry in membership.entries:
            old = self.members.get(entry.name)
            member = old if old is not None and old.entry.url == entry.url else Member(entry)
            member.entry = entry
            kept[entry.name] = member
        self.members = kept
        self.membership = membership
        self.problem = ""
        self._ready = None

    def complain(self, text: str) -> None:
        """The members file cannot be used; what is known stays."""
        self.problem = text

    @property
    def split(self) -> bool:
        """Prefill and decode are separate engines."""
        return any(member.entry.role != "serve" for member in self.members.values())

    @property
    def needed(self) -> tuple[str, ...]:
        """Roles that must all serve before a request can be answered."""
        return ("prefill", "decode") if self.split else ("serve",)

    def candidates(self, *roles: str) -> list[Candidate]:
        """A snapshot of ``roles``, in the file's order."""
        now = self.clock()
        return [member.candidate(now) for member in self.members.values() if member.entry.role in roles]

    def ready(self) -> bool:
        """Each needed role has a group that serves."""
        if self._ready is None:
            seen = self.candidates(*self.needed)
            self._ready = all(open_groups(seen, role) for role in self.needed)
        return self._ready

    def choose(self, role: str, avoid: AbstractSet[str] = frozenset()) -> Member | None:
        """The engine for the next request of ``role``; None when no group of it serves."""
        self._turns[role] += 1
        found = choose(
            self.candidates(role),
            role,
            policy=self.policy,
            turn=self._turns[role],
            typical=self.typical,
            avoid=avoid,
        )
        return None if found is None else self.members[found.name]

    @contextmanager
    def lease(self, member: Member, tokens: float) -> Iterator[None]:
        """Count a request on ``member`` for as long as the block runs, however it ends."""
        self.typical += (tokens - self.typical) / 64
        member.requests += 1
        member.tokens += tokens
        try:
            yield
        finally:
            member.requests -= 1
            # Sums of floats drift: an idle engine must tie exactly with another idle one.
            member.tokens = member.tokens - tokens if member.requests else 0.0

    def lost(self, member: Member, reason: str) -> bool:
        """Out at once; only a health check begun later brings it back. True when it was in."""
        was, member.alive = member.alive, False
        self._ready = None
        member.reason = reason
        member.lost_at = self.clock()
        member.running = member.waiting = member.foreign = 0
        return was

    def slow(self, member: Member, reason: str) -> bool:
        """A health check timed out: out after some in a row. True when that put it out."""
        member.slow += 1
        return member.slow >= SLOW_ANSWERS and self.lost(member, reason)

    def well(self, member: Member, asked_at: float) -> bool:
        """A health check begun at ``asked_at`` was good. True when that brought it back."""
        if asked_at < member.lost_at:
            return False
        was, member.alive = member.alive, True
        self._ready = None
        member.reason = ""
        member.slow = 0
        return not was

    def erred(self, member: Member) -> None:
        """It answered a request with a server error: others first, for some seconds."""
        member.suspect_until = self.clock() + SUSPECT_SECONDS

    def figures(self, member: Member, running: int, waiting: int, own: int) -> None:
        """The engine's own queue, and what of it (``own`` requests) this router sent."""
        member.running = running
        member.waiting = waiting
        member.foreign = max(0, running + waiting - own)
