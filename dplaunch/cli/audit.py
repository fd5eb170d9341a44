"""``dplaunch audit``: who did what to this cluster."""

from __future__ import annotations

from typing import Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode

Count = Annotated[int, option("-n", help="Print this many entries.")]


def audit(call: Invocation, count: Count = 20) -> ExitCode:
    """Show who changed this cluster, when, and with which result. The trail is kept on the nodes."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.job import connect, missing
    from dplaunch.view import trail as drawing

    cluster = open_cluster(call, untitled=True)
    with at_work(cluster.plan, Warnings(call)) as job:
        connect(job)
        if not job.driver.reached:
            raise missing(cluster.plan, job.driver.unreached)
        entries = job.driver.trail(count)
    call.screen.present(drawing.render_audit(entries), drawing.audit_json(entries))
    return ExitCode.DONE
