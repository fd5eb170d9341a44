"""``dplaunch status``: what runs, and whether it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError, worst

if TYPE_CHECKING:
    from dplaunch.model.summary import Summary
    from dplaunch.workspace import Cluster

Watch = Annotated[bool, option("--watch", "-w", help="Repeat every two seconds, until Ctrl-C.")]
Wait = Annotated[
    str | None, option("--wait", metavar="ready", help="Wait until the cluster serves, and prove it.")
]
Timeout = Annotated[
    str | None,
    option("--timeout", metavar="DURATION", help="With --wait, wait this long (default: ready_timeout)."),
]

LOOK_AGAIN = 2.0
"""Seconds between two observations of ``-w``."""


def status(call: Invocation, watch: Watch = False, wait: Wait = None, timeout: Timeout = None) -> ExitCode:
    """Show what runs where, and whether it serves. The exit code reports it too."""
    from dplaunch.cli.cluster import open_cluster

    if wait not in (None, "ready"):
        raise UsageError(f"--wait takes `ready`, not {wait!r}")
    cluster = open_cluster(call)
    if wait:
        _wait(call, cluster, timeout)
    return _watch(call, cluster) if watch else _look_once(call, cluster)


def exit_code(summary: Summary) -> ExitCode:
    """Serving 0, unreached 3, down 1, starting or closed 4, degraded 5, outage 7; ``worst`` chooses."""
    from dplaunch.model.summary import ClusterHealth

    codes = {
        ClusterHealth.SERVING: ExitCode.DONE,
        ClusterHealth.DONE: ExitCode.DONE,
        ClusterHealth.STARTING: ExitCode.NOT_READY,
        ClusterHealth.CLOSED: ExitCode.NOT_READY,
        ClusterHealth.DEGRADED: ExitCode.DEGRADED,
        ClusterHealth.OUTAGE: ExitCode.OUTAGE,
        ClusterHealth.DOWN: ExitCode.FAILED,
        ClusterHealth.UNKNOWN: ExitCode.UNREACHABLE,
    }
    return worst(codes[summary.state], ExitCode.UNREACHABLE if summary.unreached else ExitCode.DONE)


def _look_once(call: Invocation, cluster: Cluster) -> ExitCode:
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.standing import look
    from dplaunch.view import status as drawing

    with at_work(cluster.plan, Warnings(call)) as job:
        observed, summary = look(job)
    human = drawing.render(cluster.plan, observed, summary, verbose=call.screen.verbose)
    call.screen.present(human, drawing.to_json(cluster.plan, observed, summary))
    return exit_code(summary)


def _watch(call: Invocation, cluster: Cluster) -> ExitCode:
    from contextlib import closing

    from dplaunch.cli.work import Warnings, at_work, interruptible
    from dplaunch.errors import Interrupted
    from dplaunch.fleet.standing import look
    from dplaunch.view import status as drawing
    from dplaunch.view.board import Board

    with at_work(cluster.plan, Warnings(call)) as job, closing(Board(call.screen)) as board:
        interruptible(job)
        summary: Summary | None = None
        try:
            while True:
                observed, summary = look(job)
                if call.screen.json:
                    call.screen.present_line(drawing.to_json(cluster.plan, observed, summary))
                else:
                    board.show(drawing.render(cluster.plan, observed, summary, verbose=call.screen.verbose))
                job.driver.pause(LOOK_AGAIN)
        except Interrupted:
            return exit_code(summary) if summary else ExitCode.INTERRUPTED


def _wait(call: Invocation, cluster: Cluster, timeout: str | None) -> None:
    from dplaunch import durations
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.fleet.change.up import wait_ready

    plan = cluster.plan
    with watching(call, plan) as display, at_work(plan, display, base=cluster.path.parent) as job:
        interruptible(job)
        wait_ready(job, durations.parse(timeout) if timeout else None)
