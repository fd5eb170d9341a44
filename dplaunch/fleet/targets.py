"""Targets: ``decode-3``, ``decode``, ``decode-[0-15]``, ``node:n5``, ``router``, ``all`` → processes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from dplaunch.errors import UsageError
from dplaunch.model.plan import Plan, Process
from dplaunch.ranges import expand, grouped


def find(words: Sequence[str], plan: Plan) -> tuple[Process, ...]:
    """The processes that ``words`` name, in plan order, each once. Raises UsageError for an unknown word."""
    chosen = {p.name for word in words for p in _one(word, plan)}
    return tuple(p for p in plan.processes if p.name in chosen)


def widen(chosen: Iterable[Process], plan: Plan) -> tuple[Process, ...]:
    """``chosen`` with the rest of their groups: a data-parallel group starts and stops as one.

    So does all that an engine's own program deploys.
    """
    if plan.deployment is not None:
        return plan.processes
    groups = {p.group for p in chosen}
    return tuple(p for p in plan.processes if p.group in groups)


def nodes_of(word: str, plan: Plan) -> tuple[str, ...]:
    """The nodes a target stands on; ``node:n3`` may be a node where nothing runs, ``all`` is every node."""
    if word == "all":
        return tuple(node.name for node in plan.nodes)
    if word.startswith("node:"):
        wanted = set(expand(word.removeprefix("node:")))
        unknown = wanted - {node.name for node in plan.nodes}
        if unknown:
            raise unknown_target(f"node:{min(unknown)}", plan)
        return tuple(node.name for node in plan.nodes if node.name in wanted)
    return tuple(dict.fromkeys(p.node for p in _one(word, plan)))


def role(word: str | None, plan: Plan) -> str | None:
    """The role ``--only`` names. Raises UsageError when the plan has none of that name."""
    if word is not None and word not in {p.role for p in plan.processes}:
        raise unknown_target(word, plan)
    return word


def _one(word: str, plan: Plan) -> list[Process]:
    if word == "all":
        return list(plan.processes)
    if word.startswith("node:"):
        nodes = set(expand(word.removeprefix("node:")))
        found = [p for p in plan.processes if p.node in nodes]
        if not found:
            raise unknown_target(word, plan)
        return found
    known = grouped((name, p) for p in plan.processes for name in {*_names(p), p.role, p.group})
    names = [word] if word in known else expand(word)
    missing = sorted(set(names) - known.keys())
    if missing:
        raise unknown_target(missing[0] if known.keys() & set(names) else word, plan)
    return [p for name in names for p in known[name]]


def _names(process: Process) -> set[str]:
    """Its own name and those of its endpoints."""
    return {process.name, *(endpoint.name for endpoint in process.endpoints)}


def unknown_target(word: str, plan: Plan) -> UsageError:
    """The error for a word that names no target, with the nearest one that does."""
    known = [name for p in plan.processes for name in (*_names(p), p.role)]
    known += [f"node:{n.name}" for n in plan.nodes] + ["all"]
    near = difflib.get_close_matches(word, sorted(set(known)), n=1)
    roles = sorted({p.role for p in plan.processes})
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"targets: {', '.join(roles)}, ROLE-N, ROLE-[0-3], node:NAME, all"
    )
    return UsageError(f"{plan.cluster} has no {word}", hint=hint)
