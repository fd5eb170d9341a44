"""What to do about a cluster: its plan, what runs, and what is wished → actions and waves. Pure."""

from __future__ import annotations

from msgspec import Struct

from dplaunch.model.observed import Observed
from dplaunch.model.plan import Action, Change, Place, Plan
from dplaunch.model.step import Wave
from dplaunch.plan.diff import diff
from dplaunch.plan.waves import waves


class Wish(Struct, frozen=True, kw_only=True):
    """What somebody wants of a cluster beyond what its file says."""

    only: str | None = None
    """A role, a group or a process: the others are left alone."""
    force: bool = False
    """Restart what would be kept."""
    restart: frozenset[str] | None = None
    """Restart these processes, group by group, and leave the others alone."""

    @property
    def whole(self) -> bool:
        """Nothing of the cluster is left alone."""
        return self.only is None and self.restart is None


class Decision(Struct, frozen=True):
    """``actions``: one per process. ``waves``: the steps that carry them out, in order."""

    actions: tuple[Action, ...]
    waves: tuple[Wave, ...]

    @property
    def restarts(self) -> frozenset[Place]:
        """Where something stops and starts again."""
        return frozenset(action.place for action in self.actions if action.change is Change.RESTART)

    @property
    def changes(self) -> bool:
        """Something is started or stopped."""
        return any(action.change is not Change.KEEP for action in self.actions)


def decide(plan: Plan, observed: Observed, wish: Wish) -> Decision:
    """The actions that bring the cluster to its plan and the wish, and their waves.

    What an engine's own program deploys in one go cannot be changed in part: it restarts as a whole.
    """
    if plan.deployment is not None and not wish.whole:
        wish = Wish(force=wish.force or wish.restart is not None)
    if wish.restart is None:
        actions = diff(plan, observed, only=wish.only, force=wish.force)
        return Decision(actions, waves(actions, plan))
    chosen = [process for process in plan.processes if process.name in wish.restart]
    actions = tuple(Action(Change.RESTART, p.name, p.node, "asked for", p.group) for p in chosen)
    return Decision(actions, waves(actions, plan, group_by_group=True))
