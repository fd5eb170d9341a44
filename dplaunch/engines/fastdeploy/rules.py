"""What FastDeploy refuses, or does silently and wrong."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines import rules
from dplaunch.engines.fastdeploy import flag_rules, forms
from dplaunch.engines.versions import at_least
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec

FIRST = "2.2"
"""The first one with ``multi_api_server``."""
COMPUTED_ENV = ("FD_ENABLE_MULTI_API_SERVER", "FD_LOG_DIR", "XPU_VISIBLE_DEVICES")
BEST_PRACTICE = "FastDeploy, docs/best_practices/Disaggregated.md"
MOST_SEQUENCES = 256


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Problems of the file with this FastDeploy."""
    yield from shared(spec)
    yield from _router(spec)
    if spec.redis is not None:
        yield from _redis(spec)
    yield from flag_rules.check(spec)
    yield from _key(spec)
    if spec.disaggregated:
        yield from _split(spec)


def shared(spec: ClusterSpec) -> Iterator[Problem]:
    """What servers and offline programs have in common."""
    yield from _version(spec)
    yield from rules.forbidden(
        spec, COMPUTED_ENV, "'{name}' is computed by dplaunch for every node", "remove it"
    )
    yield from rules.devices_chosen(spec, "CUDA_VISIBLE_DEVICES")
    yield from _sizes(spec)
    yield from _shared_by_ranks(spec)
    yield from _sequences(spec)
    if spec.kv_transfer is not None:
        text = "kv_transfer has no effect with FastDeploy, which moves KV itself"
        yield Problem(text, key="kv_transfer", hint="remove it; args: {cache-transfer-protocol: …} says how")


def _version(spec: ClusterSpec) -> Iterator[Problem]:
    version = spec.engine.version
    if not at_least(version, FIRST):
        text = f"dplaunch starts FastDeploy from {FIRST} on: {version} has no multi_api_server"
        yield Problem(text, key="engine.version", hint="use a newer one")


def _sizes(spec: ClusterSpec) -> Iterator[Problem]:
    """Only tensor, data and expert parallelism exist, and the latter not together with the first."""
    for role in spec.roles:
        for name, size in (("pp", role.pp), ("pcp", role.pcp), ("dcp", role.dcp)):
            if size > 1:
                text = f"FastDeploy has no {name}, and {role.name} wants {size}"
                yield Problem(text, key=f"roles.{role.name}.{name}", hint=f"remove {name}")
        if role.expert_parallel and role.tp > 1:
            yield Problem(
                f"FastDeploy's expert parallelism needs tp 1, and {role.name} has tp {role.tp}",
                key=f"roles.{role.name}.tp",
                hint=f"dp: {role.dp * role.tp} with tp: 1, or without ep",
                source=BEST_PRACTICE,
            )


def _router(spec: ClusterSpec) -> Iterator[Problem]:
    if forms.form(spec) != "registered":
        return
    version = spec.engine.version
    if not at_least(version, forms.ROUTER_SINCE):
        text = f"FastDeploy {version} has no router of its own"
        yield Problem(text, key="router.kind", hint=f"a version from {forms.ROUTER_GOOD_SINCE} on")
    elif not at_least(version, forms.ROUTER_GOOD_SINCE):
        yield rules.warning(
            f"FastDeploy {version} has an early state of the router and of prefill/decode behind it",
            "router.kind",
            f"a version from {forms.ROUTER_GOOD_SINCE} on",
            "PaddlePaddle/FastDeploy#5742",
        )


def _key(spec: ClusterSpec) -> Iterator[Problem]:
    version = spec.engine.version
    if spec.api_key is not None and not at_least(version, forms.ASKS_FOR_KEYS):
        yield rules.warning(
            f"FastDeploy {version} does not ask clients for the key: only the router does",
            "api_key",
            f"use a version from {forms.ASKS_FOR_KEYS} on, or keep clients away from the engines' ports",
            "FastDeploy, fastdeploy/envs.py",
        )


def _redis(spec: ClusterSpec) -> Iterator[Problem]:
    """Its scheduler: one server for each group, on one node."""
    if spec.router is not None and spec.router.kind == forms.OWN_ROUTER:
        text = "FastDeploy schedules through Redis or through its own router, and the file has both"
        yield Problem(text, key="router.kind", hint="remove redis, or router.kind")
    if at_least(spec.engine.version, forms.REDIS_UNTIL):
        yield rules.warning(
            f"FastDeploy {spec.engine.version} no longer recommends its scheduler on Redis",
            "redis",
            "router: {kind: fastdeploy} instead of redis",
            "PaddlePaddle/FastDeploy#5742",
        )
    yield from need_experts(spec)
    for role in spec.roles:
        if len(role.nodes) > role.groups:
            yield Problem(
                f"with redis a group of FastDeploy is one server on one node, and {role.name} has "
                f"{len(role.nodes)} nodes for {role.groups}",
                key=f"roles.{role.name}.groups",
                hint=f"groups: {len(role.nodes)}; requests go to all groups through Redis",
            )


def need_experts(spec: ClusterSpec) -> Iterator[Problem]:
    """Before 2.5 one server, or one program, starts further ranks with expert parallelism only."""
    if at_least(spec.engine.version, forms.FILLS_IN_PORTS):
        return
    for role in spec.roles:
        if role.dp > 1 and not role.expert_parallel:
            yield Problem(
                f"FastDeploy {spec.engine.version} starts the ranks beyond the first with expert parallelism "
                f"only, and {role.name} has dp {role.dp} without it",
                key=f"roles.{role.name}.dp",
                hint=f"ep: {role.dp}; or, without redis, a server for each rank",
                source="FastDeploy, engine/engine.py",
            )


def _split(spec: ClusterSpec) -> Iterator[Problem]:
    """Prefill and decode must find each other, and their KV must fit."""
    if forms.form(spec) == "balanced":
        yield Problem(
            "FastDeploy's prefill and decode find one another through its own router, or through Redis",
            key="router.kind",
            hint="router: {kind: fastdeploy}; before 2.5 redis: {node: …}",
            source="FastDeploy, engine/args_utils.py",
        )
    prefill, decode = spec.roles
    if decode.tp not in (prefill.tp, 1):
        yield Problem(
            f"decode has tp {decode.tp} and prefill {prefill.tp}: FastDeploy's router refuses such pairs",
            key="roles.decode.tp",
            hint=f"tp: {prefill.tp}, or tp: 1",
            source="FastDeploy, router/router.py",
        )
    yield from _protocol(prefill, decode)
    yield from rules.check_agreement(spec)


def _protocol(prefill: RoleSpec, decode: RoleSpec) -> Iterator[Problem]:
    given = [role.args.get("cache-transfer-protocol") for role in (prefill, decode)]
    if given[0] != given[1]:
        yield Problem(
            f"cache-transfer-protocol is {given[0]} for prefill and {given[1]} for decode",
            key="roles.decode.args.cache-transfer-protocol",
            hint="set it once, in defaults.args, or leave it out",
        )
    elif given[0] == "ipc" and set(prefill.nodes) != set(decode.nodes):
        yield Problem(
            "cache-transfer-protocol ipc stays within a node, and prefill and decode are on several",
            key="roles.decode.args.cache-transfer-protocol",
            hint="rdma,ipc, or leave it out",
        )


def _shared_by_ranks(spec: ClusterSpec) -> Iterator[Problem]:
    """Ranks of one parent have one command line: an override of one of them would reach all, or none."""
    shared = [role for role in spec.roles if forms.local_ranks(role) > 1]
    together = {f"{role.name}-{number}" for role in shared for number in range(role.groups * role.dp)}
    for name in spec.overrides:
        if name in together:
            yield Problem(
                f"{name} shares its command line with the other ranks of its node",
                key=f"overrides.{name}",
                hint="override its node (node:NAME), or set it for the role",
            )


def _sequences(spec: ClusterSpec) -> Iterator[Problem]:
    for place, args in rules.arguments(spec):
        most = args.get("max-num-seqs")
        if isinstance(most, int) and most > MOST_SEQUENCES:
            text = f"max-num-seqs {most} is more than the {MOST_SEQUENCES} that FastDeploy takes"
            yield Problem(text, key=f"{place}.max-num-seqs", hint=f"max-num-seqs: {MOST_SEQUENCES}")
