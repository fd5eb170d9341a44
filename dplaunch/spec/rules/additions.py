"""Rules about what stands beside the engines: services, jobs, Redis, files."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.model.cluster import DECODE, PREFILL, SERVE
from dplaunch.model.plan import ROUTER
from dplaunch.nearest import did_you_mean
from dplaunch.ranges import fold
from dplaunch.spec.additions import EVERY_NODE
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.rules.rule import Case, Rule

REDIS = "redis"
_TAKEN = dict.fromkeys((PREFILL, DECODE, SERVE), "a role") | {ROUTER: "the router", EVERY_NODE: "a target"}


def names_free(case: Case) -> Iterator[Finding]:
    """Services and jobs are targets, as roles and engines are: one name for one thing."""
    taken = dict(_TAKEN)
    if case.file.redis and case.file.redis.node:
        taken[REDIS] = "the service of the key redis"
    engines = {f"{r.name}-{n}" for r in case.spec.roles for n in range(r.groups * r.dp)}
    taken |= dict.fromkeys(engines, "an engine")
    for section, given in (("services", case.file.services), ("jobs", case.file.jobs)):
        for name in given:
            if name in taken:
                text = f"{section}.{name} has the name of {taken[name]}"
                yield Finding((section, name), text, "choose another name", at_key=True)
            taken[name] = f"{section}.{name}"


def nodes_known(case: Case) -> Iterator[Finding]:
    """Everything sits on nodes of this file."""
    known = [node.name for node in case.spec.nodes]
    for path, name in _nodes(case):
        if name not in known:
            hint = did_you_mean(name, known, f"nodes are: {fold(known)}")
            yield Finding(path, f"{dotted(path)} names {name}, which is not a node of this file", hint)


def _nodes(case: Case) -> Iterator[tuple[KeyPath, str]]:
    for section, given in (("services", case.file.services), ("jobs", case.file.jobs)):
        yield from (((section, name, "node"), one.node) for name, one in given.items() if one.node)
    if case.file.redis and case.file.redis.node:
        yield ("redis", "node"), case.file.redis.node
    for number, one in enumerate(case.file.files):
        yield from (
            (("files", number, "nodes"), name) for name in one.nodes or () if one.nodes != (EVERY_NODE,)
        )


def files_once(case: Case) -> Iterator[Finding]:
    """Two texts for one path of a node would overwrite each other."""
    seen: dict[tuple[str, str], int] = {}
    for number, one in enumerate(case.spec.files):
        twice = [node for node in one.nodes if seen.setdefault((node, one.path), number) != number]
        if twice:
            text = f"{one.path} of {fold(twice)} is written twice"
            yield Finding(
                ("files", number, "path"), text, "keep one of the two, or give each nodes of its own"
            )


RULES = (
    Rule(("services.*", "jobs.*", "redis.**", "roles.**"), names_free),
    Rule(("nodes.*.name", "services.*.node", "jobs.*.node", "redis.node", "files.*.nodes"), nodes_known),
    Rule(("nodes.*.name", "files.*.path", "files.*.nodes"), files_once),
)
