"""``dplaunch down``: stop everything of the cluster, with a verdict for each process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, describe_cluster, option
from dplaunch.errors import ExitCode, UsageError, worst

if TYPE_CHECKING:
    from dplaunch.model.observed import Observed
    from dplaunch.model.plan import Plan

Grace = Annotated[
    str | None,
    option(
        "--grace",
        metavar="DURATION",
        help="Wait this long before killing processes that ignore their signal (default: 30s).",
    ),
]


def down(call: Invocation, grace: Grace = None) -> ExitCode:
    """Stop router, engines and services, and check that no process and no port is left."""
    from dplaunch import durations
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.up import run_cluster_hook
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.fleet.change.down import GRACE
    from dplaunch.fleet.change.down import down as walk
    from dplaunch.view import down as drawing

    cluster = open_cluster(call)
    plan = cluster.plan
    with watching(call, plan) as display, at_work(plan, display) as job:
        interruptible(job)
        result = walk(job, lambda seen: _agree(call, plan, seen), durations.parse(grace) if grace else GRACE)
    if result is None:
        raise UsageError("cancelled: nothing was stopped")
    if result.clean and not result.unreached:
        _forget(call, plan, rehearse=cluster.rehearse)
        run_cluster_hook(call, plan, "after_down")
    outcome = (result.verdicts, result.unreached, result.kept)
    call.screen.present(drawing.render(plan, *outcome), drawing.to_json(*outcome))
    return worst(
        ExitCode.DONE if result.clean else ExitCode.FAILED,
        ExitCode.UNREACHABLE if result.unreached else ExitCode.DONE,
    )


def _forget(call: Invocation, plan: Plan, *, rehearse: bool) -> None:
    """It is down whether or not this machine can write that."""
    from dplaunch.cli.cluster import memory

    before = memory().current()
    try:
        memory().forget(plan.cluster, rehearse=rehearse)
    except OSError as error:
        call.screen.warn(f"{error.filename}: {error.strerror}; `dplaunch ls` will list {plan.cluster} still")
    after = memory().current()
    if after is not None and after != before:
        call.screen.say(f"the current cluster is now {after.cluster}, from {after.file}")


def _agree(call: Invocation, plan: Plan, seen: Observed) -> bool:
    alive = [process for process in seen.processes if process.alive]
    return call.agree(f"Stop {describe_cluster(plan, {p.place for p in alive})}?")
