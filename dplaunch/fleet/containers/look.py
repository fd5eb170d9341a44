"""What the machines hold for the containers of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dplaunch.fleet.job import Job, need_all
from dplaunch.model.container import Box
from dplaunch.model.plan import NodePlan
from dplaunch.model.remote import ExecResult

TIMEOUT = 30.0
_HELP = re.compile(r"Usage: |(Run|See) '.* --help'")

LOOK = """\
engine=$1 name=$2 image=$3 archive=$4; shift 4
format='{{.State.Status}} {{index .Config.Labels "dplaunch.owner"}}'
found=$("$engine" container inspect --format "$format" "$name" 2>/dev/null) || {
  found= why=$("$engine" container inspect "$name" 2>&1 >/dev/null)
  case $why in *[Nn]"o such container"* | *"o container with name"*) ;; *) echo "$why" >&2; exit 1 ;; esac
}
id=$("$engine" image inspect --format '{{.Id}}' "$image" 2>/dev/null) || id=
[ -f "$archive" ] && archive=yes || archive=
printf '%s\\n' "$found" "$id" "$archive" "$(id -u)"
for path; do [ -e "$path" ] || echo "$path"; done
"""
"""Prints state and owner of the container, the image's id, whether there is an archive, the user's number,
and what of the paths that follow is not there."""


def started_by_us(job: Job) -> dict[str, NodePlan]:
    """The nodes whose container dplaunch starts."""
    return {node.name: node for node in job.plan.nodes if node.container and node.container.image}


def is_current(job: Job, node: NodePlan) -> bool:
    """Whether the session of a node runs in the container of this plan."""
    return node.container is not None and job.driver.hello(node.name).container == node.container.stamp


def is_inside(job: Job, node: str) -> bool:
    """Whether the session of a node runs in a container of ours, of whatever plan."""
    return bool(job.driver.hello(node).container)


def look(job: Job, nodes: Iterable[NodePlan]) -> dict[str, Box]:
    """What each of these machines holds.

    A container that runs hides its machine: its session is led outside for a moment, then inside again.
    """
    wanted = {node.name: _command(node) for node in nodes}
    hidden = [name for name in wanted if is_inside(job, name)]
    job.driver.reopen(hidden, outside=True)
    need_all(job)
    results = job.driver.execute_each(wanted, TIMEOUT)
    job.driver.reopen(hidden, outside=False)
    need_all(job)
    return {result.node: _read(result) for result in results}


def explain(result: ExecResult) -> str:
    """Why a command of docker or podman failed: its last line, but for those that name the help."""
    lines = [line.strip() for line in result.err.splitlines()]
    said = [line for line in lines if line and not _HELP.match(line)]
    return result.problem or (said[-1] if said else f"it ended with exit code {result.code}")


def _command(node: NodePlan) -> tuple[str, ...]:
    container = node.container
    if container is None or container.image is None:
        return ("true",)
    image = container.image
    words = (container.engine, container.name, image.reference, image.archive or "")
    return ("sh", "-c", LOOK, "sh", *words, *container.needs)


def _read(result: ExecResult) -> Box:
    if result.code != 0:
        return Box(node=result.node, problem=explain(result).removeprefix("Error: "))
    found, image, archive, user, *lacks = result.out.splitlines()
    state, _, owner = found.partition(" ")
    return Box(
        node=result.node,
        state=state,
        owner=owner.strip(),
        image=image,
        archive=archive == "yes",
        user=int(user) if user.isdecimal() else 0,
        lacks=tuple(lacks),
    )
