"""``dplaunch restart TARGET…``: out of service, stop, start, prove, back in service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.targets import target_argument
from dplaunch.cli.up import DrainTimeout, Timeout
from dplaunch.cli.verb import Invocation, describe_cluster
from dplaunch.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dplaunch.model.plan import Process

Targets = Annotated[
    list[str],
    target_argument("Restart the group of decode-3, decode, node:n5, router or all."),
]


def restart(
    call: Invocation, targets: Targets, timeout: Timeout = None, drain_timeout: DrainTimeout = None
) -> ExitCode:
    """Restart groups one after another: each is drained first, and serves again once it is proved."""
    from dplaunch import durations
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.fleet.change.options import ChangeOptions
    from dplaunch.fleet.change.up import restart as walk
    from dplaunch.fleet.targets import find, widen
    from dplaunch.reconcile import Wish
    from dplaunch.view import up as drawing

    cluster = open_cluster(call)
    named = find(targets, cluster.plan)
    chosen = widen(named, cluster.plan)
    names = {p.name for p in chosen}
    options = ChangeOptions(
        verb="restart",
        wish=Wish(restart=frozenset(names)),
        timeout=None if timeout is None else durations.parse(timeout),
        drain_timeout=None if drain_timeout is None else durations.parse(drain_timeout),
    )
    _report_widened(call, named, chosen)
    plan = cluster.plan
    if not call.agree(f"Restart {describe_cluster(plan, {p.place for p in chosen})}?"):
        raise UsageError("cancelled: nothing was restarted")
    with watching(call, plan, names) as display, at_work(plan, display, base=cluster.path.parent) as job:
        interruptible(job)
        walk(job, options)
    took = display.progress.elapsed
    call.screen.present(
        drawing.render_restarted(plan, sorted(names), took), {"restarted": sorted(names), "seconds": took}
    )
    return ExitCode.DONE


def _report_widened(call: Invocation, named: tuple[Process, ...], chosen: tuple[Process, ...]) -> None:
    more = [p for p in chosen if p not in named]
    if more:
        from dplaunch.ranges import fold

        call.screen.say(
            f"also restarting {fold(p.name for p in more)}: a data-parallel group restarts as one"
        )
