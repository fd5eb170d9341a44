"""What the router knows about its engines: counts, health and proof, from which snapshots are made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from urllib.parse import urlsplit

from .members import ROLES, Entry, Membership
from .pick import Candidate, choose, open_groups
from .settings import Settings

SUSPECT_SECONDS = 5.0
SLOW_ANSWERS = 3
"""So many health checks in a row may time out: a busy engine is not a dead one."""
COLD_PATIENCE = 120.0
"""Seconds for an engine that has not been proved since it was started: its first requests may compile."""
PER_BYTE = 1 / 16_000
"""Seconds of patience more for each byte of a waiting request: 4,000 tokens of a prompt a second at least."""
MOST_PATIENCE_MORE = 60.0
PING_AFTER = 2.0
PING_EVERY = 30.0
"""Seconds: when an engine that says it has requests is asked for one more, and how often."""
NOT_ASKED = "not asked yet"
UNREAD = "no members file was read yet"
TO_OPEN = ("proving", "serving")
"""States in the file of engines that take requests of clients once they are proved."""


class Member:
    """One engine. Counts are this worker's own; ``running`` and ``waiting`` are the engine's."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        parts = urlsplit(entry.url)
        self.netloc = parts.netloc
        self.address = (parts.hostname or "", parts.port or 80)
        self.alive = False
        self.reason = NOT_ASKED
        self.answered = False
        """Its health was good since its proof was last in doubt."""
        self.proved = entry.state == "serving"
        self.doubt = ""
        """Why the last proof failed; empty before the first one."""
        self.doubted_at = float("-inf")
        self.warm = self.proved
        """It was proved since it was last started."""
        self.stuck = ""
        """What is known of it when it answers its health check and nothing else; empty when it moves."""
        self.counters: int | None = None
        """A hash of its counters; None when they are not known."""
        self.moved_at = float("-inf")
        """When its counters or its answers last moved."""
        self.excused = 0
        """Requests in it that wait for another engine, not for this one."""
        self.largest = 0
        """Bytes of the largest request of this worker that waits for it."""
        self.largest_elsewhere = 0
        """The same of the other workers, some seconds old at most."""
        self.pinged_at = float("-inf")
        self.requests = 0
        """All leases: requests that run here, or whose KV may still be fetched from here."""
        self.working = 0
        """Of these, the ones that the engine has not answered yet."""
        self.tokens = 0.0
        self.running = 0
        self.waiting = 0
        self.foreign = 0
        self.slow = 0
        self.lost_at = float("-inf")
        self.suspect_until = float("-inf")

    @property
    def asked(self) -> bool:
        """It was asked for its health, whatever came of it."""
        return self.alive or self.slow > 0 or self.reason != NOT_ASKED

    @property
    def state(self) -> str:
        """As in the file; ``proving`` and ``serving`` by whether it is proved at this moment."""
        if self.entry.state not in TO_OPEN:
            return self.entry.state
        return "serving" if self.proved else "proving"

    def candidate(self, now: float, states: Iterable[str]) -> Candidate:
        """This engine as ``pick`` sees it; it serves when it is alive and in one of ``states``."""
        entry = self.entry
        return Candidate(
            entry.name,
            entry.role,
            entry.group,
            serving=self.alive and self.state in states,
            suspect=now < self.suspect_until,
            tokens=self.tokens,
            foreign=self.foreign,
            waiting=self.waiting,
        )


class Lease:
    """A request on an engine, counted from now on."""

    def __init__(self, member: Member, tokens: float) -> None:
        self._member = member
        self._tokens = tokens
        self._working = self._held = True
        member.requests += 1
        member.working += 1
        member.tokens += tokens

    def answered(self) -> None:
        """The engine has no more work with it; what it computed may still be fetched."""
        if self._working:
            self._working = False
            member = self._member
            member.working -= 1
            # Sums of floats drift: an idle engine must tie exactly with another idle one.
            member.tokens = member.tokens - self._tokens if member.working else 0.0

    def end(self) -> None:
        """The engine may be stopped as far as this request is concerned."""
        self.answered()
        if self._held:
            self._held = False
            self._member.requests -= 1


class State:
    """All engines. Not thread-safe: it lives on one event loop."""

    def __init__(
        self,
        policy: str = "tokens",
        clock: Callable[[], float] = time.monotonic,
        patience: float = Settings.stuck_after,
    ) -> None:
        self.policy = policy
        self.patience = patience
        self.clock = clock
        self.members: dict[str, Member] = {}
        self.membership = Membership()
        self.problem = UNREAD
        self.typical = 512.0
        self._ready: bool | None = None
        """Known until an engine comes, goes or changes its state: it is asked for every request."""
        # Workers that all start at 0 would send their first requests to the same engine.
        self._turns = {role: random.randrange(1 << 16) for roles in ROLES.values() for role in roles}  # noqa: S311 - spreads load, guards nothing

    def apply(self, membership: Membership) -> None:
        """Take over a new members file; an engine that keeps name and address keeps what is known of it."""
        kept = {}
        for entry in membership.entries:
            old = self.members.get(entry.name)
            member = old if old is not None and old.entry.url == entry.url else Member(entry)
            self._enter(member, entry)
            kept[entry.name] = member
        self.members = kept
        self.membership = membership
        self.problem = ""
        self._ready = None

    def _enter(self, member: Member, entry: Entry) -> None:
        """What the file calls serving, its writer has proved; what it calls held or proving is yet to be."""
        before, member.entry = member.entry.state, entry
        if before == entry.state:
            return
        if entry.state in ("held", "proving"):
            self._doubt(member)
            member.warm, member.stuck = False, ""
        elif before != "draining":
            member.proved = member.proved or entry.state == "serving"

    def complain(self, text: str) -> None:
        """The members file cannot be used; what is known stays."""
        self.problem = text

    @property
    def needed(self) -> tuple[str, ...]:
        """The roles that must all serve before a request can be answered; the last one writes the answer."""
        return ROLES[self.membership.flow]

    def candidates(self, *roles: str, states: Iterable[str] = ("serving",)) -> list[Candidate]:
        """Return a snapshot of ``roles``, in the file's order."""
        now = self.clock()
        return [
            member.candidate(now, states) for member in self.members.values() if member.entry.role in roles
        ]

    def ready(self) -> bool:
        """Each needed role has a group that serves."""
        if self._ready is None:
            seen = self.candidates(*self.needed)
            self._ready = all(open_groups(seen, role) for role in self.needed)
        return self._ready

    def choose(
        self, role: str, avoid: AbstractSet[str] = frozenset(), states: Iterable[str] = ("serving",)
    ) -> Member | None:
        """Return the engine for the next request of ``role``; None when no group of it is in ``states``."""
        self._turns[role] += 1
        found = choose(
            self.candidates(role, states=states),
            role,
            policy=self.policy,
            turn=self._turns[role],
            typical=self.typical,
            avoid=avoid,
        )
        return None if found is None else self.members[found.name]

    @contextmanager
    def lease(self, member: Member, tokens: float) -> Iterator[Lease]:
        """Count a request on ``member`` for as long as the block runs, or to its lease's ``end``."""
        self.typical += (tokens - self.typical) / 64
        lease = Lease(member, tokens)
        try:
            yield lease
        finally:
            lease.end()

    def lost(self, member: Member, reason: str) -> bool:
        """Take it out at once; only a health check begun later brings it back. True when it was in."""
        was, member.alive = member.alive, False
        self._ready = None
        member.reason = reason
        member.lost_at = self.clock()
        member.running = member.waiting = member.foreign = 0
        return was

    def failed(self, member: Member, reason: str) -> bool:
        """Note a failed health check: it is lost, and its group must be proved again. True when it was in.

        An engine that has not been healthy yet is still starting, which puts nothing in doubt.
        """
        if member.answered:
            self._doubt_group(member)
        member.warm, member.stuck = False, ""
        return self.lost(member, reason)

    def slow(self, member: Member, reason: str) -> bool:
        """Note a health check that timed out: it fails after some in a row. True when that put it out."""
        member.slow += 1
        return member.slow >= SLOW_ANSWERS and self.failed(member, reason)

    def well(self, member: Member, asked_at: float) -> bool:
        """Note a good health check that began at ``asked_at``. True when that brought it back."""
        if asked_at < member.lost_at:
            return False
        was, member.alive = member.alive, True
        self._ready = None
        member.answered = True
        if not was:
            member.moved_at = self.clock()
        member.reason = ""
        member.slow = 0
        return not was

    def moved(self, member: Member, counters: int | None, *, heard: bool) -> None:
        """Note its counters, and whether any answer came since they were last looked at."""
        if heard or counters is None or counters != member.counters or member.excused:
            member.moved_at = self.clock()
        member.counters = counters

    def stands_still(self, member: Member, since: float, size: int) -> float:
        """Seconds for which nothing moved, 0 while that is no reason to give it up.

        ``since``: when the first of its waiting requests was sent; ``size``: bytes of the largest one. It may
        be at a larger one of another worker.
        """
        size = max(size, member.largest_elsewhere)
        seconds = self.clock() - max(since, member.moved_at)
        patience = self.patience if member.warm else max(self.patience, COLD_PATIENCE)
        return seconds if seconds >= patience + min(size * PER_BYTE, MOST_PATIENCE_MORE) else 0.0

    def stick(self, member: Member, reason: str) -> bool:
        """Note that it is stuck: its group is closed until it is proved again. True when that is new."""
        self._doubt_group(member)
        new, member.stuck = not member.stuck, reason
        member.moved_at = self.clock()
        return new

    def suspected(self) -> dict[str, list[Member]]:
        """Return the engines that say they have requests, yet do not move, by group; each now and then.

        Only a request of our own tells: an engine whose last request was given up may count it for ever.
        """
        now = self.clock()
        found: dict[str, list[Member]] = {}
        for member in self.members.values():
            idle = (
                member.working or not (member.running or member.waiting) or now < member.moved_at + PING_AFTER
            )
            if (
                member.alive
                and member.state == "serving"
                and not idle
                and now > member.pinged_at + PING_EVERY
            ):
                member.pinged_at = now
                found.setdefault(member.entry.group, []).append(member)
        return found

    @contextmanager
    def excuse(self, member: Member) -> Iterator[None]:
        """While the block runs ``member`` waits for another engine: no movement is expected of it."""
        member.excused += 1
        try:
            yield
        finally:
            member.excused -= 1
            member.moved_at = self.clock()

    def _doubt_group(self, member: Member) -> None:
        for other in self.members.values():
            if (other.entry.role, other.entry.group) == (member.entry.role, member.entry.group):
                self._doubt(other)

    def _doubt(self, member: Member) -> None:
        member.proved = member.answered = False
        member.doubt = ""
        member.doubted_at = self.clock()
        self._ready = None

    def prove(self, members: Iterable[Member], asked_at: float) -> None:
        """Note that a request that began at ``asked_at`` was answered through ``members``."""
        for member in members:
            if asked_at >= member.doubted_at:
                member.proved = member.warm = True
                member.doubt = member.stuck = ""
        self._ready = None

    def unproved(self) -> dict[str, list[Member]]:
        """Return the engines still to be proved, by group; of groups that are alive as a whole."""
        found: dict[str, list[Member]] = {}
        for role in self.needed:
            alive = open_groups(self.candidates(role, states=TO_OPEN), role)
            for member in self.members.values():
                if member.entry.role == role and member.entry.group in alive and not member.proved:
                    found.setdefault(member.entry.group, []).append(member)
        return found

    def settled(self) -> bool:
        """Whether all is known: of every engine its health, and of those that are to be proved the proof."""
        pending = any(not member.doubt for group in self.unproved().values() for member in group)
        return self.problem != UNREAD and not pending and all(m.asked for m in self.members.values())

    def erred(self, member: Member) -> None:
        """It answered a request with a server error: others first, for some seconds."""
        member.suspect_until = self.clock() + SUSPECT_SECONDS

    def figures(self, member: Member, running: int, waiting: int, own: int) -> None:
        """Note the engine's own queue, and what of it (``own`` requests) this router sent."""
        member.running = running
        member.waiting = waiting
        member.foreign = max(0, running + waiting - own)
