"""``dplaunch lock``: who holds the cluster's lock."""

from __future__ import annotations

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode


def lock(call: Invocation) -> ExitCode:
    """Show who holds the cluster's lock, for which command and since when."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.job import connect
    from dplaunch.view import trail as drawing

    cluster = open_cluster(call, untitled=True)
    with at_work(cluster.plan, Warnings(call)) as job:
        connect(job)
        first = job.driver.lock_node()
        held = [n for n in job.driver.observe().nodes if n.lock is not None]
    node, holder = (held[0].name, held[0].lock) if held else (first, None)
    call.screen.present(drawing.render_lock(node, holder), drawing.lock_json(node, holder))
    return ExitCode.DONE
