"""A cluster file's text from plain data: sections apart, short maps on one line, comments where they help."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from dplaunch.ranges import fold

_WIDTH = 100
_PLAIN = re.compile(r"true|false|True|False|-?(?:0|[1-9]\d*)(?:\.\d+)?")
_TOGETHER = (
    "cluster",
    "engine",
    "model",
    "served_model_name",
    "ssh",
    "hardware",
    "ports",
    "router",
    "ready_timeout",
)
"""Sections without an empty line before them, unless they have a comment."""
_SHORT = ("engine", "ssh", "hardware", "kv_transfer", "ports", "router", "runtime")
_FEW = 2
"""Variables that stand on one line."""
_OF_ROLE = 3
"""Keys down to the nodes of a role."""


class _Flow(dict[str, Any]):
    """A map on one line."""


class _Written(str):
    """A text that stands without quotes where it reads as a number or a truth."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes lists of words and short maps on one line, indented as people do."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value again rather than refer to it."""
        del data
        return True


def _represent_written(dumper: yaml.SafeDumper, text: _Written) -> yaml.ScalarNode:
    tag = dumper.resolve(yaml.ScalarNode, str(text), (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(str(tag), str(text))


_Dumper.add_representer(
    _Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(_Written, _represent_written)
_Dumper.add_representer(
    list,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=_is_plain(data)),
)


def write(document: Mapping[str, Any], head: Sequence[str], comments: Mapping[str, Sequence[str]]) -> str:
    """The text. ``head`` stands above it; ``comments``: section → lines above it."""
    parts = [*(f"# {line}".rstrip() for line in head)]
    for name, value in document.items():
        above = [f"# {line}" for line in comments.get(name, ())]
        apart = above or name not in _TOGETHER or name in ("cluster", "ports")
        parts += ["", *above] if apart else above
        parts.append(_section(name, value))
    return "\n".join(parts) + "\n"


def _section(name: str, value: Any) -> str:
    text = yaml.dump(
        {name: _shaped(_folded(value) if name == "nodes" else value, (name,))},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH + 60,
        default_flow_style=False,
    )
    return str(text).rstrip("\n")


def _is_plain(value: Any) -> bool:
    return not any(isinstance(item, dict) for item in value)


def _shaped(value: Any, path: tuple[str, ...]) -> Any:
    """The value with short maps on one line, names of nodes folded, and the environment as it is written."""
    if path[-1] == "nodes" and len(path) == _OF_ROLE:
        folded = fold(value)
        return value if "," in re.sub(r"\[[^]]*\]", "", folded) else folded
    if isinstance(value, list):
        return [_shaped(item, (*path, "-")) for item in value]
    if not isinstance(value, Mapping):
        return value
    inner = {key: _shaped(item, (*path, key)) for key, item in value.items()}
    if path[-1] == "env":
        inner = {key: _written(text) for key, text in inner.items()}
    return _Flow(inner) if _on_one_line(inner, path) else inner


def _on_one_line(inner: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether a map is short, or the value of a flag; sections of several keys and roles are neither."""
    if "env" in path:
        return len(inner) <= _FEW
    if path[-1] == "roles" or path[:-1] == ("roles",):
        return False
    if "args" in path[:-1]:
        return True
    return len(str(dict(inner))) <= _WIDTH and (len(path) > 1 or path[0] in _SHORT)


def _written(value: Any) -> Any:
    text = str(value)
    return _Written(text) if _PLAIN.fullmatch(text) else text


def _folded(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of nodes that differ in name and host only as one with ranges."""
    return list(_runs(nodes))


def _runs(nodes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    run: list[Mapping[str, Any]] = []
    for node in [*nodes, None]:
        candidate = [*run, node] if node is not None else run
        if node is not None and _as_one(candidate):
            run = candidate
            continue
        if run:
            yield _as_one(run) or dict(run[0])
        run = [node] if node is not None else []


def _as_one(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One entry for all of these; empty where ranges cannot say it."""
    rest = [{key: value for key, value in node.items() if key not in ("name", "host")} for node in nodes]
    if any(other != rest[0] for other in rest) or "address" in rest[0]:
        return {} if len(nodes) > 1 else dict(nodes[0])
    names, hosts = (fold([str(node[key]) for node in nodes]) for key in ("name", "host"))
    simple = all("," not in text for text in (names, hosts)) and (len(nodes) == 1 or "[" in hosts)
    return {"name": names, "host": hosts, **rest[0]} if simple else {}
