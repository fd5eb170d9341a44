"""A plan as JSON and back, and what differs between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from msgspec import convert, to_builtins

from dplaunch import durations
from dplaunch.errors import UsageError
from dplaunch.model.cluster import WarmupSpec
from dplaunch.model.plan import NodePlan, Plan, Process

FORMAT = 2

_Key = TypeVar("_Key")


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, with ``format`` in front. Stable keys: the names of the values' fields."""
    return {"format": FORMAT, **to_builtins(plan)}


def dump(plan: Plan) -> str:
    """The plan as text to save."""
    return json.dumps(to_json(plan), indent=1, ensure_ascii=False) + "\n"


def from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that ``to_json`` made this from; ValueError when it is something else."""
    return convert(_with_tuples(data), Plan)


def _with_tuples(value: Any) -> Any:
    """As a plan contains it: JSON has lists where our values have tuples."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def load(text: str, name: str) -> Plan:
    """A saved plan. Raises UsageError naming the file when it is not a plan, or has another format."""
    hint = "save one with: dplaunch plan --save FILE"
    try:
        data = json.loads(text)
        found = data.get("format")
    except (ValueError, AttributeError):
        raise UsageError(f"{name} is not a saved plan", hint=hint) from None
    if found != FORMAT:
        raise UsageError(
            f"{name} is a plan of format {found}, but this dplaunch reads format {FORMAT}", hint=hint
        )
    try:
        return from_json(data)
    except ValueError:
        raise UsageError(f"{name} is damaged: parts of the plan are missing", hint=hint) from None


def compare(old: Plan, new: Plan) -> tuple[str, ...]:
    """What changes from ``old`` to ``new``, one line each; empty when nothing does."""
    return (*_whole(old, new), *_nodes(old, new), *_processes(old, new), *_files(old, new))


WHOLE = ("engine", "model", "served_model_name", "url", "flow", "ready_timeout")


def _whole(old: Plan, new: Plan) -> Iterator[str]:
    for name in WHOLE:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"± {name.replace('_', ' ')}: {before} → {after}"
    if old.drain_timeout != new.drain_timeout:
        yield f"± drain timeout: {_drain(old.drain_timeout)} → {_drain(new.drain_timeout)}"
    if old.warmup != new.warmup:
        yield f"± warmup: {_warm(old.warmup)} → {_warm(new.warmup)}"


def _drain(timeouts: Mapping[str, float]) -> str:
    return ", ".join(f"{role} {durations.describe(t)}" for role, t in timeouts.items()) or "none"


def _warm(warmup: WarmupSpec | None) -> str:
    if warmup is None:
        return "none"
    return f"{warmup.requests_per_engine} × {warmup.prompt_tokens} tokens, answered by {warmup.output_tokens}"


def _changes(before: Mapping[_Key, object], after: Mapping[_Key, object]) -> Iterator[tuple[str, _Key]]:
    """What only one of the two has (``-``, ``+``), and what both have but differs (``±``)."""
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            yield "-", key
        elif key not in before:
            yield "+", key
        elif before[key] != after[key]:
            yield "±", key


def _nodes(old: Plan, new: Plan) -> Iterator[str]:
    before, after = ({n.name: f"{n.host} ({n.address})" for n in plan.nodes} for plan in (old, new))
    for mark, name in _changes(before, after):
        yield f"{mark} node {name}" + (f": {before[name]} → {after[name]}" if mark == "±" else "")


def _processes(old: Plan, new: Plan) -> Iterator[str]:
    before, after = ({p.place: p for p in plan.processes} for plan in (old, new))
    for mark, (node, name) in _changes(before, after):
        if mark == "±":
            yield from _process(before[node, name], after[node, name])
        else:
            yield f"{mark} {name} on {node}"


def _process(old: Process, new: Process) -> Iterator[str]:
    if old.argv != new.argv:
        yield f"± {new.name} on {new.node}: {' '.join(old.argv)} → {' '.join(new.argv)}"
    for _, name in _changes(old.env, new.env):
        was, now = old.env.get(name, "none"), new.env.get(name, "none")
        yield f"± {new.name} on {new.node}: secret {name}: {was} → {now}"


def _files(old: Plan, new: Plan) -> Iterator[str]:
    """Files of nodes that stay."""
    nodes = {node.name: node for node in old.nodes}
    for node in new.nodes:
        if node.name in nodes:
            yield from _node_files(nodes[node.name], node)


def _node_files(old: NodePlan, new: NodePlan) -> Iterator[str]:
    before = {f.path: f.text for f in old.files}
    after = {f.path: f.text for f in new.files}
    for mark, path in _changes(before, after):
        yield f"{mark} {new.name}/{path}"
        if mark == "±":
            yield from (f"    - {line}" for line in _lines_missing(before[path], after[path]))
            yield from (f"    + {line}" for line in _lines_missing(after[path], before[path]))


def _lines_missing(text: str, other: str) -> list[str]:
    """Lines of ``text`` that ``other`` has not."""
    known = set(other.splitlines())
    return [line.strip() for line in text.splitlines() if line not in known]
