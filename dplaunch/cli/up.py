"""``dplaunch up``: bring the cluster to its file, wait until it serves, prove it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, describe_cluster, option
from dplaunch.errors import ExitCode, Interrupted, UsageError

if TYPE_CHECKING:
    from dplaunch.fleet.change.options import ChangeOptions, Preflight
    from dplaunch.model.difference import Difference
    from dplaunch.model.plan import Action, Plan
    from dplaunch.model.progress import Progress
    from dplaunch.workspace import Cluster


class Pairs(str, Enum):
    """Which pairs of engines are proved where there are many."""

    SAMPLE = "sample"
    ALL = "all"


Only = Annotated[str | None, option("--only", metavar="ROLE", help="Start this role only (default: all).")]
DryRun = Annotated[bool, option("--dry-run", help="Print what would change, and change nothing.")]
Detailed = Annotated[
    bool, option("--detailed-exitcode", help="With --dry-run, exit with 8 if something would change.")
]
Detach = Annotated[
    bool,
    option("--detach", help="Return as soon as all processes have started, without waiting for readiness."),
]
Timeout = Annotated[
    str | None,
    option("--timeout", metavar="DURATION", help="Wait this long for readiness (default: ready_timeout)."),
]
DrainTimeout = Annotated[
    str | None,
    option(
        "--drain-timeout",
        metavar="DURATION",
        help="Let running requests finish for this long (default: drain_timeout).",
    ),
]
Force = Annotated[bool, option("--force", help="Restart running processes even if they are unchanged.")]
Test = Annotated[Pairs, option("--test", help="Prove a sample of 64 prefill × decode pairs, or all.")]
NoCheck = Annotated[bool, option("--no-check", help="Skip the quick checks of the nodes before the start.")]
Keep = Annotated[bool, option("--keep", help="Keep running processes when something fails (for debugging).")]


def up(  # noqa: PLR0913 - the flags that operators need, one line each
    call: Invocation,
    only: Only = None,
    dry_run: DryRun = False,
    detailed_exitcode: Detailed = False,
    detach: Detach = False,
    timeout: Timeout = None,
    drain_timeout: DrainTimeout = None,
    force: Force = False,
    keep: Keep = False,
    test: Test = Pairs.SAMPLE,
    no_check: NoCheck = False,
) -> ExitCode:
    """Start what the file describes, wait until it is ready, prove it with real completions."""
    from dplaunch import durations
    from dplaunch.cli.cluster import open_cluster, say_without_container
    from dplaunch.fleet.change.options import ChangeOptions
    from dplaunch.fleet.targets import role
    from dplaunch.preflight import FirstLook, Provided
    from dplaunch.reconcile import Wish

    if detailed_exitcode and not dry_run:
        raise UsageError("--detailed-exitcode is about what --dry-run finds", hint="add --dry-run")
    cluster = open_cluster(call)
    say_without_container(call, cluster)
    options = ChangeOptions(
        wish=Wish(only=role(only, cluster.plan), force=force),
        keep=keep,
        detach=detach,
        timeout=None if timeout is None else durations.parse(timeout),
        drain_timeout=None if drain_timeout is None else durations.parse(drain_timeout),
        all_pairs=test is Pairs.ALL,
    )
    if dry_run:
        return _preview(call, cluster, options, detailed=detailed_exitcode)
    return _bring_up(call, cluster, options, Provided(cluster.spec) if no_check else FirstLook(cluster.spec))


def _preview(call: Invocation, cluster: Cluster, options: ChangeOptions, *, detailed: bool) -> ExitCode:
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.change.differences import find_differences
    from dplaunch.fleet.change.up import preview
    from dplaunch.view import actions as drawing

    with at_work(cluster.plan, Warnings(call)) as job:
        decision, preparation = preview(job, options)
        found = decision.actions, decision.waves, find_differences(job, decision.restarts), preparation
    call.screen.present(drawing.render(*found), drawing.to_json(*found))
    return ExitCode.CHANGES if detailed and decision.changes else ExitCode.DONE


def _bring_up(call: Invocation, cluster: Cluster, options: ChangeOptions, look: Preflight) -> ExitCode:
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.fleet.change.up import up as walk
    from dplaunch.view import up as drawing

    plan = cluster.plan
    with watching(call, plan) as display, at_work(plan, display, base=cluster.path.parent) as job:
        run_cluster_hook(call, plan, "before_up")
        interruptible(job)
        try:
            result = walk(
                job,
                options,
                lambda actions, found: agree(call, plan, actions, found),
                look,
                lambda: _remember(call, cluster),
            )
        except Interrupted as error:
            raise as_detached(cluster.plan, display.progress) from error
        if result.ready:
            run_cluster_hook(call, plan, "after_up")
    took = display.progress.elapsed
    human = (
        drawing.render_done(plan, took, changed=result.changed, only=options.wish.only)
        if result.ready
        else drawing.render_detached(plan, result.started, took)
    )
    call.screen.present(
        human, drawing.to_json(plan, display.progress, ready=result.ready, changed=result.changed)
    )
    return ExitCode.DONE


def _remember(call: Invocation, cluster: Cluster) -> None:
    """Make it the current cluster, once nothing refuses its start; others stay known.

    It is started whether or not this machine can write that.
    """
    from dplaunch.cli.cluster import memory

    before = memory().current()
    name = cluster.plan.cluster
    try:
        memory().remember(cluster.path, cluster.text, name, rehearse=cluster.rehearse)
    except OSError as error:
        call.screen.warn(f"{error.filename}: {error.strerror}; name the file in the next commands")
        return
    if before is not None and (before.cluster, before.rehearse) != (name, cluster.rehearse):
        call.screen.say(
            f"{cluster.plan.title} is the current cluster now; `dplaunch ls` lists {before.cluster} too"
        )


def agree(
    call: Invocation, plan: Plan, actions: tuple[Action, ...], differences: tuple[Difference, ...]
) -> bool:
    """Ask the user, only where something that runs would stop."""
    from dplaunch.model.plan import Change
    from dplaunch.view import actions as drawing

    stopping = {action.place for action in actions if action.change in (Change.STOP, Change.RESTART)}
    if not stopping:
        return True
    call.screen.say(drawing.render(actions, differences=differences))
    return call.agree(f"This stops processes of {describe_cluster(plan, stopping)}. Continue?")


def as_detached(plan: Plan, progress: Progress) -> Interrupted:
    """The error of Ctrl-C during ``up``: everything that was started keeps running."""
    from dplaunch.model.progress import Step

    if all(unit.step is Step.WAITING for unit in progress.units.values()):
        return Interrupted("interrupted; nothing was started", hint="run `dplaunch up` again")
    return Interrupted(
        f"Detached from {plan.title}. The cluster keeps running; the router proves and opens each group.",
        hint="`dplaunch status` shows it, `dplaunch up` waits for it and proves it, `dplaunch down` stops it",
    )


def run_cluster_hook(call: Invocation, plan: Plan, name: str) -> None:
    """Run a hook of the cluster file and print its output."""
    import os

    from dplaunch.workspace import run_hook

    output = run_hook(plan, name, os.environ)
    if output:
        call.screen.say(output.rstrip())
