"""The files of vllm-ascend's multi-node tests: YAML with anchors and merge keys, a process per rank or node.

Source: vllm-ascend, tests/e2e/nightly/multi_node/external_dp/scripts/external_dp_config.py and
internal_dp/scripts/multi_node_config.py (main, August 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dplaunch.errors import UsageError
from dplaunch.importer.expand import Scope
from dplaunch.importer.shell import Shell
from dplaunch.importer.source import Proxy, ReadFile, Source
from dplaunch.model.cluster import DECODE, PREFILL
from dplaunch.model.imported import Launch

Document = Mapping[str, Any]

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ROLES = {
    "prefiller": PREFILL,
    "decoder": DECODE,
    "prefiller_host_index": PREFILL,
    "decoder_host_index": DECODE,
}
_PROXY_PORT, _SERVER_PORT = 1999, 8080
_READ = {
    *("test_name", "model", "num_nodes", "npu_per_node", "cluster_hosts", "routing", "config", "templates"),
    *("deployment", "disaggregated_prefill", "kv_pool"),
}
_TESTS = ("benchmarks",)
_HINTS = {"special_dependencies": "install them on the nodes: `dplaunch exec all -- pip install …`"}
_SIZES = ("tp_size", "cp_size", "sp_size", "pp_size")


def recognised(document: Document) -> bool:
    """Whether this is such a file."""
    return {"model", "num_nodes"} <= document.keys() and bool({"deployment", "templates"} & document.keys())


def read_tests(
    document: Document, name: str, hosts: Sequence[str], source: Source, read_file: ReadFile
) -> None:
    """Every process of the file. ``hosts``: the nodes' addresses, where the file has none."""
    count = int(document["num_nodes"])
    short = [
        key for key in ("config", "templates", "deployment") if len(document.get(key, range(count))) != count
    ]
    if short:
        raise UsageError(
            f"{name}: {short[0]} has {len(document[short[0]])} entries, and num_nodes is {count}",
            hint=f"{short[0]} takes one entry for each node",
        )
    hosts = _hosts(document, name, hosts, source)
    source.name = re.sub(r"(?i)^test\s+", "", str(document.get("test_name", "")))
    source.devices = int(document.get("npu_per_node", 16))
    _leave_rest(document, name, source)
    if pool := document.get("kv_pool"):
        _pool(pool, name, source)
    if "deployment" in document:
        _internal(document, name, hosts, source, read_file)
    else:
        _external(document, name, hosts, source)


def _hosts(document: Document, name: str, given: Sequence[str], source: Source) -> Sequence[str]:
    count = int(document["num_nodes"])
    hosts = given or [str(host) for host in document.get("cluster_hosts") or ()]
    if not hosts:
        hosts = [f"192.0.2.{number}" for number in range(1, count + 1)]
        text = f"the file names no hosts: 192.0.2.1 to 192.0.2.{count} stand for them"
        source.leave(name, text, "give your own: --hosts 10.0.0.[1-4]", matters=False)
    if len(hosts) < count:
        raise UsageError(
            f"{name} has {count} nodes, and {len(hosts)} hosts are given", hint=f"--hosts with {count}"
        )
    return hosts[:count]


def _leave_rest(document: Document, name: str, source: Source) -> None:
    anchors = {key for key in document if key.startswith("env_")}
    for key in document.keys() - _READ - anchors:
        tests = key in _TESTS
        text = f"{key} measures the deployment" if tests else f"{key} was not carried over"
        matters = not tests and not key.startswith("_")
        source.leave(f"{name}: {key}", text, _HINTS.get(key, ""), matters=matters)


def _pool(pool: Document, name: str, source: Source) -> None:
    """The KV pool's service on the first node, and what its clients read."""
    kind, config = str(pool["type"]), dict(pool.get("config") or {})
    if kind == "mooncake":
        ports = [int(pool["master_port"])]
        command = ["mooncake_master", f"--port={ports[0]}"]
        if "metrics_port" in pool:
            command.append(f"--metrics_port={pool['metrics_port']}")
            ports.append(int(pool["metrics_port"]))
        source.store = config
    else:
        ports = [int(pool["meta_service_port"]), int(pool["config_store_port"])]
        command = ["python3", "-c", "from memcache_hybrid import MetaService; MetaService.main()"]
        source.store = dict(config.get("local") or {})
        if config.get("meta"):
            text = f"the MetaService's own settings were not carried over: {config['meta']}"
            source.leave(f"{name}: kv_pool", text, "`files` can put mmc-meta.conf on its node")
    source.services[kind] = {"command": command, "ports": ports}


def _external(document: Document, name: str, hosts: Sequence[str], source: Source) -> None:
    groups = (document.get("routing") or {}).get("groups") or {}
    roles = {int(index): _ROLES.get(group, "") for group, listed in groups.items() for index in listed}
    templates = {int(entry["node_index"]): entry for entry in document["templates"]}
    ports: dict[str, list[tuple[str, int]]] = {PREFILL: [], DECODE: []}
    for config in document["config"]:
        index = int(config["node_index"])
        for local in range(int(config["dp_size_local"])):
            where = f"{name}: templates, node_index {index}, rank {int(config['dp_rank_start']) + local}"
            known = _variables(document, config, local, hosts)
            env: dict[str, str] = {}
            for key, value in (templates[index].get("envs") or {}).items():
                env[key] = "" if value is None else _fill(str(value), {**known, **env})
            words = (_fill(str(word), {**known, **env}) for word in templates[index]["server_cmd_template"])
            role = roles.get(index, "")
            source.launches.append(Launch(hosts[index], (known["MODEL"], *words), env, where, role))
            ports.setdefault(role, []).append((hosts[index], int(known["PORT"])))
    if ports[PREFILL]:
        proxy = Proxy(hosts[0], _PROXY_PORT, tuple(ports[PREFILL]), tuple(ports[DECODE]), f"{name}: routing")
        source.proxies.append(proxy)


def _variables(document: Document, config: Document, local: int, hosts: Sequence[str]) -> dict[str, str]:
    """What the harness puts into the template of one rank, beside the address of its group."""
    width = 1
    for key in _SIZES:
        width *= int(config.get(key, 1))
    port, rank, index = (int(config[key]) for key in ("port_start", "dp_rank_start", "node_index"))
    sizes = (*_SIZES, "dp_size", "dp_size_local", "dp_rank_start", "port_start", "dp_rpc_port")
    known = {
        **{f"NODE_{number}_IP": host for number, host in enumerate(hosts)},
        **{key.upper(): str(config.get(key, 1)) for key in sizes},
        "MODEL": str(document["model"]),
        "PORT": str(port + local),
        "DP_RANK": str(rank + local),
        "LOCAL_RANK": str(local),
        "VISIBLE_DEVICES": ",".join(str(device) for device in range(local * width, (local + 1) * width)),
        "NODE_INDEX": str(index),
        "LOCAL_IP": hosts[index],
        "MASTER_IP": hosts[0],
    }
    return {**known, "DP_ADDRESS": _fill(str(config["dp_address"]), known)}


def _internal(
    document: Document, name: str, hosts: Sequence[str], source: Source, read_file: ReadFile
) -> None:
    split = document.get("disaggregated_prefill") or {}
    roles = {int(index): _ROLES[key] for key, listed in split.items() if key in _ROLES for index in listed}
    firsts = [index for index, role in sorted(roles.items()) if role == DECODE]
    fronts: dict[str, list[tuple[str, int]]] = {PREFILL: [], DECODE: []}
    for index, entry in enumerate(document["deployment"]):
        role = roles.get(index, "")
        env = {key: str(value) for key, value in (entry.get("envs") or {}).items()}
        own = {"LOCAL_IP": hosts[index], "MASTER_IP": hosts[firsts[0]] if role == DECODE else hosts[0]}
        scope = Scope({**env, **own}, {key: _fill(value, env) for key, value in env.items()})
        before = len(source.launches)
        command = " ".join(str(entry["server_cmd"]).split("\n"))
        Shell(hosts[index], source, read_file).read(command, f"{name}: deployment {index}", scope)
        source.launches[before:] = [_of_role(launch, role) for launch in source.launches[before:]]
        if role and "--headless" not in command:
            fronts[role].append((hosts[index], int(env.get("SERVER_PORT", _SERVER_PORT))))
    if fronts[PREFILL]:
        where = f"{name}: disaggregated_prefill"
        source.proxies.append(
            Proxy(hosts[0], _PROXY_PORT, tuple(fronts[PREFILL]), tuple(fronts[DECODE]), where)
        )


def _of_role(launch: Launch, role: str) -> Launch:
    where = launch.where.removesuffix(" line 1")
    return Launch(launch.host, launch.words, launch.env, where, role)


def _fill(text: str, known: Mapping[str, str]) -> str:
    """The text with what is known put in; other variables stay, in braces."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return known.get(name, f"${{{name}}}")

    return _VARIABLE.sub(value, text)
