"""The file that clients of a Mooncake store read, computed from the service that is its master.

Source: vLLM, mooncake_store_connector_usage.md; vllm-ascend, kv_pool.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from urllib.parse import urlsplit

from dplaunch.engines.adapter import NamedFile, Site
from dplaunch.engines.flags import plain
from dplaunch.engines.layout import url
from dplaunch.engines.settings import Env, user_env
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, ServiceSpec
from dplaunch.model.plan import File

MASTER = "mooncake_master"
MASTER_PORT = 50051
"""What it listens on unless told otherwise."""
ADDRESS = "master_server_address"
_SIZES = ("global_segment_size", "local_buffer_size")
_SIZE = re.compile(r"\d+(\.\d+)?\s*([kmg]?b)?", re.IGNORECASE)


MOONCAKE = NamedFile("MOONCAKE_CONFIG_PATH", "mooncake.json", "")


def mooncake(spec: ClusterSpec, **own: object) -> NamedFile:
    """What Mooncake's clients read; ``own`` is the engine's part, and the file's ``store`` wins."""
    given = plain(spec.kv_transfer.store) if spec.kv_transfer else {}
    computed = {"metadata_server": "P2PHANDSHAKE", "device_name": "", ADDRESS: master(spec), **own}
    return NamedFile(MOONCAKE.variable, MOONCAKE.name, json.dumps({**computed, **given}, indent=1) + "\n")


def master(spec: ClusterSpec) -> str:
    """``HOST:PORT`` of the master among the services; empty without one."""
    found = find(spec, MASTER)
    return address(spec, found, _port(found)) if found else ""


def find(spec: ClusterSpec, program: str) -> ServiceSpec | None:
    """The service whose command has this program, or this text."""
    return next((service for service in spec.services if runs(service, program)), None)


def runs(service: ServiceSpec, program: str) -> bool:
    """Whether the service's command has this program, or this text."""
    return any(word.rpartition("/")[2] == program or f" {program}" in word for word in service.command)


def address(spec: ClusterSpec, service: ServiceSpec, port: int) -> str:
    """``HOST:PORT`` of a service."""
    host = next(node.address for node in spec.nodes if node.name == service.node)
    return urlsplit(url(host, port)).netloc


def _port(service: ServiceSpec) -> int:
    words = [part for word in service.command for part in re.split(r"[=\s]", word)]
    flags = ("--port", "-port", "--rpc_port", "-rpc_port")
    found = (value for flag, value in pairwise(words) if flag in flags)
    return next((int(value) for value in found if value.isdecimal()), MASTER_PORT)


def is_given(spec: ClusterSpec, variable: str) -> bool:
    """Whether the cluster file names the client's file itself."""
    envs = [role.env for role in spec.roles] + [node.env for node in spec.nodes]
    envs += [override.env for override in spec.overrides.values()]
    return any(variable in env for env in envs)


def files(site: Site, client: NamedFile | None) -> Iterator[File]:
    """The client's file beside the engines' script, unless the cluster file names another."""
    if client and not all(client.variable in user_env(site, seat) for seat in site.seats):
        yield File(f"{site.role.name}/{client.name}", client.text)


def env(client: NamedFile | None) -> Env:
    """The variable that names it: ``script_folder`` is a variable of the script."""
    return {client.variable: f"${{script_folder}}/{client.name}"} if client else {}


def check(spec: ClusterSpec, name: str) -> Iterator[Problem]:
    """Whether the store named so has a master that is ready before the engines."""
    given: Mapping[str, object] = spec.kv_transfer.store if spec.kv_transfer else {}
    service = find(spec, MASTER)
    if service is None and ADDRESS not in given and not is_given(spec, MOONCAKE.variable):
        yield Problem(
            f"{name} keeps KV in Mooncake, and the file neither starts its master nor names one",
            key="kv_transfer.connector",
            hint='services: {mooncake: {command: [mooncake_master, --port, "50088"], ports: [50088]}}; or '
            "store: {master_server_address: HOST:PORT} in kv_transfer",
        )
    elif service is not None and _port(service) not in service.ports:
        port = _port(service)
        yield Problem(
            f"{service.name} listens on {port}, which its ports do not name: engines would not wait for it",
            key=f"services.{service.name}.ports",
            hint=f"ports: [{port}]",
        )
    elif service is not None:
        yield from check_order(service, name)
    for size in _SIZES:
        if size in given and not _SIZE.fullmatch(str(given[size]).strip()):
            text = f"{size} is not a size that Mooncake reads: {given[size]!r}"
            yield Problem(text, key=f"kv_transfer.store.{size}", hint=f"{size}: 4GB, or a number of bytes")


def check_order(service: ServiceSpec, name: str) -> Iterator[Problem]:
    """Engines do not start without their store."""
    if not service.before:
        yield Problem(
            f"engines need {service.name} when they start: {name} keeps KV there",
            key=f"services.{service.name}.start",
            hint="start: before",
        )
