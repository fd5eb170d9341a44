"""What a change is asked to do, and what came of it: data."""

from __future__ import annotations

from msgspec import Struct, field

from dplaunch.fleet.job import Job
from dplaunch.model.observed import Observed
from dplaunch.model.plan import Action, Change
from dplaunch.reconcile import Wish


class ChangeOptions(Struct, frozen=True, kw_only=True):
    """The flags of ``up`` and ``restart``. Times are seconds; None takes the value of the cluster file."""

    verb: str = "up"
    wish: Wish = field(default_factory=Wish)
    keep: bool = False
    """Keep running processes when something fails."""
    detach: bool = False
    """Return as soon as all processes have started."""
    timeout: float | None = None
    drain_timeout: float | None = None
    all_pairs: bool = False
    """Ask through every pair of endpoints, however many they are."""


class Preflight:
    """Looks at the nodes where something is started, called at the right moments; this one at nothing."""

    def before(self, job: Job, observed: Observed) -> None:
        """Under the lock, before anything is touched. Raises where a start would not work."""

    def meanwhile(self, job: Job) -> None:
        """While everything loads: start the slow checks without waiting for them."""

    def report(self, job: Job) -> None:
        """Report the slow checks: everything has loaded, or failed. May be called again."""


class UpResult(Struct, frozen=True):
    """What a change did. ``ready`` is False only after ``--detach``."""

    actions: tuple[Action, ...]
    ready: bool
    changed: bool

    @property
    def started(self) -> int:
        """How many processes, those that were stopped before among them."""
        return sum(action.change in (Change.START, Change.RESTART) for action in self.actions)
