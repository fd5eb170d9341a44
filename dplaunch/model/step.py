"""Steps: what a change does to groups, in which order, and what came of it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from dplaunch.errors import DplaunchError
from dplaunch.model.plan import Place


class StepKind(Enum):
    """In the order in which a wave takes them."""

    DRAIN = "drain"
    """The router sends nothing new to the group; what runs on it is finished."""
    STOP = "stop"
    HOLD = "hold"
    """The group is reachable for the proof only."""
    PUT = "put"
    START = "start"
    AWAIT = "await"
    PROVE = "prove"
    ADMIT = "admit"
    """Proved: the router opens the group to clients."""


class Step(Struct, frozen=True):
    """One step of one group. ``group`` is a service's own name where it is none of ranks."""

    kind: StepKind
    group: str
    places: tuple[Place, ...]


class Wave(Struct, frozen=True):
    """Steps of groups that change side by side: all of one kind before the next kind."""

    steps: tuple[Step, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group of it, in order."""
        return tuple(dict.fromkeys(step.group for step in self.steps))

    def of(self, kind: StepKind) -> tuple[Step, ...]:
        """Its steps of one kind."""
        return tuple(step for step in self.steps if step.kind is kind)

    def places(self, kind: StepKind) -> frozenset[Place]:
        """Everything that its steps of one kind act on."""
        return frozenset(place for step in self.of(kind) for place in step.places)


class Ended(Enum):
    """How a group came out of a wave."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Another group of the wave failed before it came so far."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of one group."""

    group: str
    ended: Ended
    error: DplaunchError | None = None
    """Why it failed; where processes failed, the first one that the others follow from."""
