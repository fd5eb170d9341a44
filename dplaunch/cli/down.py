"""``dplaunch down``: stop everything of the cluster, with a verdict for each process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError, worst
from dplaunch.words import plural

if TYPE_CHECKING:
    from dplaunch.model.observed import Observed

Grace = Annotated[
    str | None,
    option(
        "--grace", help="Wait this long before killing processes that ignore their signal (default: 30s)."
    ),
]


def down(call: Invocation, grace: Grace = None) -> ExitCode:
    """Stop router, engines and services, and check that no process and no port is left."""
    from dplaunch import durations
    from dplaunch.cli.cluster import memory, open_cluster
    from dplaunch.cli.up import run_cluster_hook
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.fleet.change.down import GRACE
    from dplaunch.fleet.change.down import down as walk
    from dplaunch.view import down as drawing

    cluster = open_cluster(call)
    plan = cluster.plan
    with watching(call, plan) as display, at_work(plan, display) as job:
        interruptible(job)
        result = walk(job, lambda seen: _agree(call, seen), durations.parse(grace) if grace else GRACE)
    if result is None:
        raise UsageError("nothing was stopped")
    if result.clean and not result.unreached:
        memory().forget(plan.cluster)
        run_cluster_hook(call, plan, "after_down")
    human = drawing.render(result.verdicts, result.unreached)
    call.screen.present(human, drawing.to_json(result.verdicts, result.unreached))
    return worst(
        ExitCode.DONE if result.clean else ExitCode.FAILED,
        ExitCode.UNREACHABLE if result.unreached else ExitCode.DONE,
    )


def _agree(call: Invocation, seen: Observed) -> bool:
    alive = sum(p.alive for p in seen.processes)
    return call.agree(f"Stop {plural(alive, 'process')} on {plural(len(seen.nodes), 'node')}?")
