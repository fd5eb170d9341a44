"""What a file adds beside the engines: services, jobs, Redis, files on nodes. Lenient, as ``resolve`` is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import yaml

from dplaunch.model.cluster import FileSpec, NodeSpec, RedisSpec, ServiceSpec
from dplaunch.spec import schema

EVERY_NODE = "all"
YAML = (".yaml", ".yml")


def services(file: schema.File, nodes: Sequence[NodeSpec]) -> tuple[ServiceSpec, ...]:
    """Services, then jobs, in the order of the file."""
    found = [_service(name, given, nodes) for name, given in file.services.items()]
    return (*found, *(_job(name, given, nodes) for name, given in file.jobs.items()))


def _job(name: str, given: schema.Job, nodes: Sequence[NodeSpec]) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        node=given.node or nodes[0].name,
        command=tuple(given.command),
        env=given.env,
        ready="exit",
        before=given.start == "before",
    )


def _service(name: str, given: schema.Service, nodes: Sequence[NodeSpec]) -> ServiceSpec:
    ready = given.ready or schema.Readiness.model_construct(tcp=given.ports[0] if given.ports else None)
    at = ready.tcp or ready.http or 0
    return ServiceSpec(
        name=name,
        node=given.node or nodes[0].name,
        command=tuple(given.command),
        env=given.env,
        ports=tuple(dict.fromkeys((*given.ports, *((at,) if at else ())))),
        ready="line" if ready.line else "http" if ready.http else "tcp" if ready.tcp else "started",
        ready_at=at,
        ready_by=ready.line or (ready.path if ready.http else ""),
        before=given.start == "before",
    )


def redis(given: schema.Redis | None, nodes: Sequence[NodeSpec]) -> RedisSpec | None:
    """Where engines find Redis: on a node, whose address it gets, or elsewhere."""
    if given is None:
        return None
    if given.url:
        parts = urlsplit(given.url)
        return RedisSpec(host=parts.hostname or "", port=parts.port or given.port, password=given.password)
    node = given.node or nodes[0].name
    host = next((one.address for one in nodes if one.name == node), "")
    return RedisSpec(host=host, port=given.port, node=node, password=given.password)


def files(file: schema.File, nodes: Sequence[NodeSpec], texts: Mapping[str, str]) -> tuple[FileSpec, ...]:
    """Files for nodes. ``texts``: what lies beside the cluster file, by what the file calls it."""
    return tuple(_files(file, nodes, texts))


def _files(file: schema.File, nodes: Sequence[NodeSpec], texts: Mapping[str, str]) -> Iterator[FileSpec]:
    everywhere = tuple(node.name for node in nodes)
    for given in file.files:
        named = given.source or given.template
        yield FileSpec(
            path=given.path,
            nodes=everywhere if given.nodes in (None, (EVERY_NODE,)) else given.nodes or (),
            text=texts.get(named, "") if named else _written(given.path, given.content),
            template=given.template is not None,
            mode=given.mode,
            owner=given.owner,
        )


def _written(path: str, content: object) -> str:
    """Text as it is; anything else as JSON, or as YAML where the path says so."""
    if isinstance(content, str):
        return content
    if path.endswith(YAML):
        return str(yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True))
    return json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
