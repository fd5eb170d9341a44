"""The same cluster on this machine: what changes when rehearsal engines stand in for real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from dplaunch.engines import StandIn
from dplaunch.model.cluster import (
    ArgValue,
    ClusterSpec,
    EnvValue,
    NodeSpec,
    RouterSpec,
    RuntimeSpec,
    SshSpec,
)
from dplaunch.model.kubernetes import POD_IP, Kubectl, KubernetesSpec
from dplaunch.model.plan import File

LOCAL_HOST = "localhost"

FOLDER = "bin"
_FIRST_IN_PATH = """# the rehearsal engine is called {names}
export PATH="${{DPLAUNCH_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}}/bin:$PATH\""""
_FIRST_OF_MODULES = """# … and is a module of Python
export PYTHONPATH="${DPLAUNCH_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}/bin${PYTHONPATH:+:$PYTHONPATH}\""""


def rehearsed(spec: ClusterSpec, played: Collection[str] = ()) -> ClusterSpec:
    """The cluster with every node on this machine, each at an address of its own in 127.0.0.0/8.

    Addresses follow from the cluster's name, so that two rehearsals do not meet. SSH, container, pods, setup
    and rank table are dropped: they belong to the real machines. ``played``: kinds of foreign routers that
    stay.
    """
    return replace(
        spec,
        nodes=tuple(_local(spec.name, index, node) for index, node in enumerate(spec.nodes)),
        runtime=RuntimeSpec(),
        container=None,
        kubernetes=None,
        deployed=_deployed(spec.deployed),
        router=_own_router(spec.router, played),
        engine=replace(spec.engine, rank_table=None, rank_table_text=None),
    )


def _local(cluster: str, index: int, node: NodeSpec) -> NodeSpec:
    here = address(cluster, index)
    return replace(node, host=LOCAL_HOST, address=here, nic="lo", ssh=SshSpec(), pod="", workload="")


def address(cluster: str, index: int) -> str:
    """127.16–215.0–255.1–254; from the 255th node on the next third part."""
    digest = hashlib.sha256(cluster.encode()).digest()
    return f"127.{16 + digest[0] % 200}.{(digest[1] + index // 254) % 256}.{index % 254 + 1}"


def _deployed(section: KubernetesSpec | None) -> KubernetesSpec | None:
    """Its kubectl and the engine's package are the stand-in's, below the node's folder."""
    if section is None:
        return None
    kubectl = Kubectl(program=f"{FOLDER}/kubectl", namespace=section.kubectl.namespace)
    return replace(section, kubectl=kubectl, package=f"{FOLDER}/package")


def _own_router(router: RouterSpec | None, played: Collection[str]) -> RouterSpec | None:
    """Ours, at its node's address: foreign ones may not be installed here, and their flags are others."""
    if router is None or router.kind in ("none", *played):
        return router
    ours = router.kind == "dplaunch"
    args = {name: value for name, value in router.args.items() if ours and name != "host"}
    return replace(router, kind="dplaunch", path=None, args=args)


_SERVICE = """#!/bin/sh
# Stands in for a service or a job: opens the same ports, or ends well.
exec python3 -I -S "${{DPLAUNCH_BUNDLE:?is not set: start rehearsals with dplaunch}}" rehearsal {name} "$@"
"""


def programs(stand_in: StandIn, *, services: bool) -> tuple[File, ...]:
    """What a rehearsal puts on each node. ``services``: there are some, or jobs, or Redis."""
    beside = ("dplaunch-service", "redis-server") if services else ()
    found = {**{name: _SERVICE.format(name=name) for name in beside}, **stand_in.programs}
    return tuple(File(f"{FOLDER}/{name}", text, 0o755) for name, text in found.items())


def standing_in(spec: ClusterSpec, stand_in: StandIn, python: str) -> ClusterSpec:
    """What every rehearsal needs, on this machine or over SSH: the stand-in first in PATH, its knobs."""
    local = all(_is_local(node) for node in spec.nodes) and not (spec.kubernetes or spec.container)
    default = RuntimeSpec().python
    runtime = replace(
        spec.runtime,
        setup=(*spec.runtime.setup, *_first(stand_in)),
        python=python if local and spec.runtime.python == default else spec.runtime.python,
    )
    nodes = tuple(
        replace(node, env={**_knobs(node, stand_in), **node.env}, args=_args(node.args, stand_in))
        for node in spec.nodes
    )
    roles = tuple(replace(role, args=_args(role.args, stand_in)) for role in spec.roles)
    overrides = {name: replace(one, args=_args(one.args, stand_in)) for name, one in spec.overrides.items()}
    return replace(spec, runtime=runtime, nodes=nodes, roles=roles, overrides=overrides)


def _args(given: Mapping[str, ArgValue], stand_in: StandIn) -> Mapping[str, ArgValue]:
    """Flags of the file, as far as they mean the same in a rehearsal."""
    return {name: stand_in.args.get(name, value) for name, value in given.items()}


def _first(stand_in: StandIn) -> Iterator[str]:
    """Shell lines by which its programs, and its modules, are found before others of their names."""
    names = dict.fromkeys(path.partition("/")[0] for path in stand_in.programs)
    yield _FIRST_IN_PATH.format(names=", ".join(names))
    if any(path.endswith(".py") for path in stand_in.programs):
        yield _FIRST_OF_MODULES


def _is_local(node: NodeSpec) -> bool:
    return node.host == LOCAL_HOST or node.host.startswith("127.")


def _knobs(node: NodeSpec, stand_in: StandIn) -> dict[str, EnvValue]:
    installed = str(max(node.devices, default=-1) + 1)
    devices = {"DPLAUNCH_REHEARSAL_DEVICES": installed} if node.devices else {}
    bind = f"${{{POD_IP}}}" if node.pod else node.address
    return {"DPLAUNCH_REHEARSAL_BIND": bind, **stand_in.env, **devices}
