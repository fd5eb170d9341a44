"""Checks of the containers that dplaunch starts."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.fleet.containers import is_inside, judge, look, started_by_us
from dplaunch.fleet.job import Job
from dplaunch.model.check import Finding, Level
from dplaunch.model.plan import NodePlan


def is_outside(job: Job, node: NodePlan) -> bool:
    """Whether a node that is reached has a container of ours to come, and runs none yet."""
    ours = started_by_us(job)
    return node.name in ours and node.name in job.driver.reached and not is_inside(job, node.name)


def check_containers(job: Job) -> Iterator[Finding]:
    """Yield ``container.*`` for every node that is reached: engine, name, image, machine, software."""
    nodes = {name: node for name, node in started_by_us(job).items() if name in job.driver.reached}
    if not nodes:
        return
    yield from judge(nodes, look(job, nodes.values()))
    for name, node in nodes.items():
        if is_outside(job, node):
            text = "Python, versions and flags of the engine: `check` asks them once the container runs"
            yield Finding(probe="container.software", level=Level.ABSENT, node=name, text=text)
