"""Remove the containers that dplaunch started, and no other."""

from __future__ import annotations

from collections.abc import Mapping

from dplaunch.fleet.containers.look import explain, is_inside, started_by_us
from dplaunch.fleet.job import Job, phase
from dplaunch.model.plan import NodePlan
from dplaunch.words import plural

TIMEOUT = 60.0

REMOVE = """\
engine=$1 name=$2 owner=$3
format='{{index .Config.Labels "dplaunch.owner"}}'
found=$("$engine" container inspect --format "$format" "$name" 2>/dev/null) || exit 0
[ "$found" = "$owner" ] || exit 0
"$engine" rm --force "$name"
"""


def remove_containers(job: Job) -> dict[str, str]:
    """Remove ours on every node that is reached; node → why its container is still there.

    From then on the sessions of these nodes run on the machines themselves.
    """
    nodes = {name: node for name, node in started_by_us(job).items() if name in job.driver.reached}
    if not nodes:
        return {}
    with phase(job, "remove", plural(len(nodes), "container")):
        job.driver.reopen([name for name in nodes if is_inside(job, name)], outside=True)
        return remove_from_outside(job, nodes)


def remove_from_outside(job: Job, nodes: Mapping[str, NodePlan]) -> dict[str, str]:
    """The same for sessions that run on the machines themselves."""
    commands = {name: _command(node) for name, node in nodes.items() if name in job.driver.reached}
    results = job.driver.execute_each(commands, TIMEOUT)
    return {result.node: explain(result) for result in results if result.code != 0}


def _command(node: NodePlan) -> tuple[str, ...]:
    container = node.container
    if container is None:
        return ("true",)
    return ("sh", "-c", REMOVE, "sh", container.engine, container.name, container.owner)
