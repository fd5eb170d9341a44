"""``dplaunch lock``: who holds the cluster's lock."""

from __future__ import annotations

from dplaunch.cli.verb import Call
from dplaunch.errors import ExitCode


def lock(call: Call) -> ExitCode:
    """Show who holds the cluster's lock, for which verb and since when."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Teller, at_work
    from dplaunch.fleet.job import connect
    from dplaunch.fleet.lock import lock_node
    from dplaunch.fleet.observe import observe
    from dplaunch.view import trail as drawing

    cluster = open_cluster(call)
    with at_work(cluster.plan, Teller(call)) as job:
        connect(job)
        node = lock_node(job)
        observed = observe(job)
    holder = next((dict(n.lock) for n in observed.nodes if n.name == node), {})
    call.screen.present(drawing.lock(node, holder), {"node": node, "lock": holder or None})
    return ExitCode.DONE
