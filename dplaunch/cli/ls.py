"""``dplaunch ls``: the clusters that were started from this machine, and their states."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dplaunch.cli.verb import Invocation
from dplaunch.errors import DplaunchError, ExitCode

if TYPE_CHECKING:
    from dplaunch.view.clusters import ClusterRow
    from dplaunch.workspace import Known


def ls(call: Invocation) -> ExitCode:
    """List the clusters that were started from here, with their state; * marks the current one."""
    from dplaunch.cli.cluster import memory
    from dplaunch.view import clusters as drawing

    current = memory().current()
    rows = [_look(call, known, is_current=known == current) for known in memory().known()]
    call.screen.present(drawing.render(rows), drawing.to_json(rows))
    return ExitCode.DONE


def _look(call: Invocation, known: Known, *, is_current: bool) -> ClusterRow:
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.standing import look
    from dplaunch.view.clusters import ClusterRow
    from dplaunch.workspace import load_cluster

    row = functools.partial(ClusterRow, cluster=known.cluster, file=known.file, current=is_current)
    try:
        plan = load_cluster(known.pick).plan
    except DplaunchError as error:
        return row(rehearsal=known.rehearse, state="unknown", problem=error.text)
    with at_work(plan, Warnings(call)) as job:
        _, summary = look(job)
    nodes = tuple(node.name for node in plan.nodes)
    return row(
        rehearsal=plan.rehearsal,
        state=summary.state.value,
        nodes=nodes,
        url=plan.url,
        unreached=summary.unreached,
    )
