"""What an ``up`` would change in the files and command lines of what runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from dplaunch.fleet.job import Job
from dplaunch.model.difference import Difference
from dplaunch.model.plan import NodePlan, Place
from dplaunch.model.remote import FileSeen
from dplaunch.ranges import grouped

PLAN = "plan.json"
"""What each node keeps of the plan that it was sent."""

_Change = tuple[tuple[str, ...], tuple[str, ...]]
"""What is removed and what is added."""


def find_differences(job: Job, places: Collection[Place]) -> tuple[Difference, ...]:
    """Between what processes at ``places`` run from and the plan; equal ones of several nodes are one.

    Reads the files as they are on the nodes; a node that does not reply has no difference.
    """
    if not places:
        return ()
    nodes = [node for node in job.plan.nodes if any(node.name == place for place, _ in places)]
    wanted = {node.name: _files(node, places) for node in nodes}
    seen = job.driver.read_all({name: [PLAN, *paths] for name, paths in wanted.items()})
    found = [(node, {one.path: one for one in seen[node.name]}) for node in nodes if node.name in seen]
    return (*_argv_changes(found, places), *_file_changes(found, wanted))


def _files(node: NodePlan, places: Collection[Place]) -> list[str]:
    return list(dict.fromkeys(path for p in node.processes if p.place in places for path in p.files))


def _file_changes(
    found: Sequence[tuple[NodePlan, Mapping[str, FileSeen]]], wanted: Mapping[str, Sequence[str]]
) -> Iterator[Difference]:
    changes = (
        ((path, _compare((seen[path].text or "").splitlines(), file.text.splitlines())), node.name)
        for node, seen in found
        for file in node.files
        for path in [file.path]
        if path in wanted[node.name]
    )
    for (path, (removed, added)), nodes in grouped(changes).items():
        if removed or added:
            yield Difference(nodes=tuple(nodes), path=path, removed=removed, added=added)


def _argv_changes(
    found: Sequence[tuple[NodePlan, Mapping[str, FileSeen]]], places: Collection[Place]
) -> Iterator[Difference]:
    changes = (
        (_compare(before[process.name], process.argv), process.place)
        for node, seen in found
        for before in [_commands(seen[PLAN].text)]
        for process in node.processes
        if process.place in places and process.name in before
    )
    for (removed, added), same in grouped(changes).items():
        if removed or added:
            nodes, processes = (tuple(dict.fromkeys(names)) for names in zip(*same, strict=True))
            yield Difference(nodes=nodes, processes=processes, removed=removed, added=added)


def _commands(text: str | None) -> dict[str, list[str]]:
    """Process → its command line when the node was sent its plan; empty where that cannot be read."""
    try:
        return {
            one["name"]: [str(word) for word in one["argv"]] for one in json.loads(text or "")["processes"]
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _compare(before: Sequence[str], after: Sequence[str]) -> _Change:
    """Lines that only one of the two has."""
    old, new = set(before), set(after)
    return (
        tuple(line.strip() for line in before if line not in new),
        tuple(line.strip() for line in after if line not in old),
    )
