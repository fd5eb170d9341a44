"""Bring the image to the machines that lack it: from a registry, from a file, or from another node's file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from dplaunch.errors import DplaunchError
from dplaunch.fleet.containers.look import explain
from dplaunch.fleet.job import Job, phase
from dplaunch.model.container import Box, Preparation
from dplaunch.model.plan import NodePlan
from dplaunch.ranges import fold, grouped
from dplaunch.words import plural

FETCH = 7200.0
"""Seconds for an image: 20 GB over a slow line, and loaded."""

_PULL = "log in to the registry there, or give a file of `docker save` as runtime.archive"
_COPY = "let the nodes log in to each other with keys of their own, or copy the file there yourself"
_LOAD = "runtime.archive must be a file of `docker save` or `podman save`, and the disk have room"

COPY = """\
archive=$1; shift
mkdir -p "$(dirname "$archive")" && "$@" >"$archive.part" && mv "$archive.part" "$archive" && exit
rm -f "$archive.part"; exit 1
"""
"""Writes what the command prints to the file, whole or not at all."""


def plan_images(nodes: Mapping[str, NodePlan], boxes: Mapping[str, Box]) -> Preparation:
    """How each machine without the image gets it."""
    lacking = [name for name, box in boxes.items() if not box.image]
    archived = [name for name in lacking if _archive(nodes[name])]
    return Preparation(
        pulled=tuple(name for name in lacking if not _archive(nodes[name])),
        loaded=tuple(name for name in archived if boxes[name].archive),
        copied=tuple(name for name in archived if not boxes[name].archive),
    )


def bring(job: Job, nodes: Mapping[str, NodePlan], boxes: Mapping[str, Box]) -> None:
    """Pull, copy and load. Raises DplaunchError naming the machines that did not get it."""
    wanted = plan_images(nodes, boxes)
    if wanted.pulled:
        pulls = {n: (_engine(nodes[n]), "pull", "--quiet", _image(nodes[n])) for n in wanted.pulled}
        with phase(job, "pull", f"{_image(nodes[wanted.pulled[0]])} on {fold(wanted.pulled)}"):
            _run(job, pulls, "pull the image", _PULL)
    if wanted.copied:
        sources = [name for name, box in boxes.items() if box.archive]
        with phase(job, "copy", f"{_archive(nodes[wanted.copied[0]])} to {fold(wanted.copied)}"):
            _copy(job, nodes, sources, wanted.copied)
    loading = (*wanted.loaded, *wanted.copied)
    if loading:
        loads = {n: (_engine(nodes[n]), "load", "--input", _archive(nodes[n])) for n in loading}
        with phase(job, "load image", plural(len(loading), "node")):
            _run(job, loads, f"load {_archive(nodes[loading[0]])}", _LOAD)


def _copy(job: Job, nodes: Mapping[str, NodePlan], sources: Sequence[str], targets: Sequence[str]) -> None:
    """Each source feeds one target at a time, which is a source from then on: their number doubles."""
    having, waiting = list(sources), list(targets)
    while waiting:
        pairs = list(zip(having, waiting, strict=False))
        commands = {target: _copying(nodes[source], nodes[target]) for source, target in pairs}
        what = f"copy {_archive(nodes[pairs[0][1]])} from {fold(source for source, _ in pairs)}"
        _run(job, commands, what, _COPY)
        waiting = waiting[len(pairs) :]
        having += [target for _, target in pairs]


def _copying(source: NodePlan, target: NodePlan) -> tuple[str, ...]:
    """The command on ``target`` that reads the file of ``source`` over SSH, with the target's own keys."""
    archive, ssh = _archive(source), source.ssh
    strict = "accept-new" if ssh.host_keys == "accept-new" else "yes"
    options = ["-o", "BatchMode=yes", "-o", f"StrictHostKeyChecking={strict}", "-o", "ConnectTimeout=10"]
    options += ["-p", str(ssh.port)] if ssh.port else []
    options += ["-l", ssh.user] if ssh.user else []
    reading = ("ssh", *options, source.address, f"cat {shlex.quote(archive)}")
    return ("sh", "-c", COPY, "sh", _archive(target), *reading)


def _run(job: Job, commands: Mapping[str, Sequence[str]], what: str, hint: str) -> None:
    """Run these; raises DplaunchError naming the nodes where that failed, by reason."""
    failed = [result for result in job.driver.execute_each(commands, FETCH) if result.code != 0]
    if failed:
        by_reason = grouped((explain(result), result.node) for result in failed)
        first, *more = (f"{fold(names)} could not {what}: {why}" for why, names in by_reason.items())
        raise DplaunchError(first, hint=hint, detail=tuple(more))


def _image(node: NodePlan) -> str:
    return node.container.image.reference if node.container and node.container.image else ""


def _archive(node: NodePlan) -> str:
    return (node.container.image.archive or "") if node.container and node.container.image else ""


def _engine(node: NodePlan) -> str:
    return node.container.engine if node.container else "docker"
