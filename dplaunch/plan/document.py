"""A plan as JSON and back, and what differs between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dplaunch import durations
from dplaunch.errors import UsageError
from dplaunch.model.cluster import SecretRef, WarmupSpec
from dplaunch.model.plan import NodePlan, Plan, Process

FORMAT = 2


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, with ``format`` in front. Stable keys: the names of the values' fields."""
    return {"format": FORMAT, **json.loads(json.dumps(plan, default=encode))}


def encode(value: Any) -> dict[str, Any]:
    """A value of the plan as its fields: ``json`` asks for this where it meets one."""
    kind: Any = type(value)
    return {name: getattr(value, name) for name in _names(kind)}


def dump(plan: Plan) -> str:
    """The plan as text to save."""
    return json.dumps(to_json(plan), indent=1, ensure_ascii=False) + "\n"


def from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that ``to_json`` made this from; KeyError or TypeError when it is something else."""
    plan = _decode(Plan, {key: value for key, value in data.items() if key != "format"})
    if not isinstance(plan, Plan):
        raise TypeError("not a plan")
    return plan


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
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{name} is damaged: parts of the plan are missing", hint=hint) from None


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, data: Any) -> Any:
    """``data`` as a value of type ``kind``; only the shapes that a plan has."""
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data)
    if origin in (Union, UnionType):
        return _decode_union(get_args(kind), data)
    if origin is not None and origin is not Literal:
        return {key: _decode(get_args(kind)[1], item) for key, item in data.items()}
    return _frozen(data)


def _decode_dataclass(kind: Any, data: Any) -> Any:
    hints = _hints(kind)
    return kind(**{name: _decode(hints[name], value) for name, value in data.items()})


def _decode_tuple(inner: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if inner[-1] is Ellipsis:
        return tuple(_decode(inner[0], item) for item in data)
    return tuple(_decode(kind, item) for kind, item in zip(inner, data, strict=True))


def _decode_union(choices: tuple[Any, ...], data: Any) -> Any:
    """Optional values, and secrets among texts; a flag's value (any JSON) stays what it is."""
    records = [choice for choice in choices if is_dataclass(choice)]
    if isinstance(data, dict) and len(records) == 1:
        return _decode(records[0], data)
    return _frozen(data)


def _frozen(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_frozen(item) for item in data)
    if isinstance(data, dict):
        return {key: _frozen(item) for key, item in data.items()}
    return data


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


def _nodes(old: Plan, new: Plan) -> Iterator[str]:
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield f"- node {name}"
        elif name not in before:
            yield f"+ node {name}"
        elif (was := _place(before[name])) != (now := _place(after[name])):
            yield f"± node {name}: {was} → {now}"


def _place(node: NodePlan) -> str:
    return f"{node.host} ({node.address})"


def _processes(old: Plan, new: Plan) -> Iterator[str]:
    before = {p.place: p for p in old.processes}
    after = {p.place: p for p in new.processes}
    for place in dict.fromkeys((*before, *after)):
        node, name = place
        if place not in after:
            yield f"- {name} on {node}"
        elif place not in before:
            yield f"+ {name} on {node}"
        else:
            yield from _process(before[place], after[place])


def _process(old: Process, new: Process) -> Iterator[str]:
    if old.argv != new.argv:
        yield f"± {new.name} on {new.node}: {' '.join(old.argv)} → {' '.join(new.argv)}"
    for name in dict.fromkeys((*old.env, *new.env)):
        before, after = old.env.get(name), new.env.get(name)
        if before != after:
            yield f"± {new.name} on {new.node}: secret {name}: {_origin(before)} → {_origin(after)}"


def _origin(value: str | SecretRef | None) -> str:
    return "none" if value is None else str(value)


def _files(old: Plan, new: Plan) -> Iterator[str]:
    """Files of nodes that stay."""
    nodes = {node.name: node for node in old.nodes}
    for node in new.nodes:
        if node.name in nodes:
            yield from _node_files(nodes[node.name], node)


def _node_files(old: NodePlan, new: NodePlan) -> Iterator[str]:
    before = {f.path: f.text for f in old.files}
    after = {f.path: f.text for f in new.files}
    for path in dict.fromkeys((*before, *after)):
        if path not in before or path not in after:
            yield f"{'-' if path in before else '+'} {new.name}/{path}"
        elif before[path] != after[path]:
            yield f"± {new.name}/{path}"
            yield from (f"    - {line}" for line in _lines_missing(before[path], after[path]))
            yield from (f"    + {line}" for line in _lines_missing(after[path], before[path]))


def _lines_missing(text: str, other: str) -> list[str]:
    """Lines of ``text`` that ``other`` has not."""
    known = set(other.splitlines())
    return [line.strip() for line in text.splitlines() if line not in known]
