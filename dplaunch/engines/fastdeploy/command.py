"""The command line and the environment of one FastDeploy parent, which holds a group's ranks on one node."""

from __future__ import annotations

from collections.abc import Sequence

from dplaunch.engines.adapter import Site
from dplaunch.engines.fastdeploy import flag_rules, forms
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Env, Flags, user_args, user_env
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import Seat

SERVERS = "fastdeploy.entrypoints.openai.multi_api_server"
SERVER = "fastdeploy.entrypoints.openai.api_server"
TTL = 9000
"""Seconds that a request may wait in Redis, as in FastDeploy's document."""
FOLDER_OF_LOGS = "log"


def folder(site: Site, seats: Sequence[Seat]) -> str:
    """Where the parent runs and writes its logs, relative to the node's folder: ``decode/0``."""
    return f"{site.role.name}/{seats[0].group}"


def script_path(site: Site, seats: Sequence[Seat]) -> str:
    """``decode/0/run_fastdeploy.sh``."""
    return f"{folder(site, seats)}/{site.facts.script}"


def module(spec: ClusterSpec) -> str:
    """What runs."""
    return SERVER if forms.form(spec) == "scheduled" else SERVERS


def environment(spec: ClusterSpec, seats: Sequence[Seat]) -> Env:
    """What dplaunch computes of its environment."""
    env: Env = {"FD_ENABLE_MULTI_API_SERVER": "1"} if forms.form(spec) in ("balanced", "registered") else {}
    if spec.redis is not None:
        # the scheduler on Redis goes with the older way of managing KV blocks only
        env["ENABLE_V1_KVCACHE_SCHEDULER"] = "0"
    env["FD_LOG_DIR"] = FOLDER_OF_LOGS
    if devices := [str(device) for seat in seats for device in seat.devices]:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    return env


def literal_env(site: Site, seats: Sequence[Seat]) -> dict[str, str]:
    """What is computed and what the file gives, without secrets."""
    whole = environment(site.spec, seats) | user_env(site, seats[0])
    return {name: value for name, value in whole.items() if isinstance(value, str)}


def lines(site: Site, seats: Sequence[Seat]) -> list[tuple[str, ...]]:
    """The words after the module, as they are printed line by line."""
    own = _layout(site, seats) | _transfer(site, seats) | _given(site, seats[0])
    served = ("--served-model-name", site.spec.served_model_name)
    if forms.form(site.spec) == "scheduled":
        whole = _front(site, seats[0]) | own
        return [flag for flag in (*whole.values(), served) if flag]
    servers: Flags = {
        "ports": _ports("ports", seats, "http"),
        "num-servers": words("num-servers", len(seats)),
    }
    if forms.has_metrics_ports(site.spec.engine.version):
        servers["metrics-ports"] = _ports("metrics-ports", seats, "metrics")
    return [flag for flag in (*servers.values(), ("--args",), *own.values(), served) if flag]


def _given(site: Site, seat: Seat) -> Flags:
    """The flags of the cluster file."""
    version = site.spec.engine.version
    return {
        key: words(flag_rules.spelt(version, key), value, negatable=flag_rules.negatable(version, key))
        for key, value in user_args(site, seat).items()
    }


def _front(site: Site, seat: Seat) -> Flags:
    """The one server of a group, and the scheduler behind it."""
    redis = site.spec.redis
    front: Flags = {"port": words("port", seat.port("http"))}
    if forms.has_metrics_ports(site.spec.engine.version):
        front["metrics-port"] = words("metrics-port", seat.port("metrics"))
    if redis is not None:
        front |= {
            "scheduler-name": words("scheduler-name", "splitwise"),
            "scheduler-host": words("scheduler-host", redis.host),
            "scheduler-port": words("scheduler-port", redis.port),
            "scheduler-topic": words("scheduler-topic", site.spec.name),
            "scheduler-ttl": words("scheduler-ttl", TTL),
        }
    return front


def _layout(site: Site, seats: Sequence[Seat]) -> Flags:
    role = site.role
    addresses = {node.name: node.address for node in site.spec.nodes}
    nodes = role.nodes_of(seats[0].group)
    # the first one is the master, from which ranks are numbered on
    start = [addresses[name] for name in nodes].index(seats[0].master)
    ordered = [addresses[name] for name in (*nodes[start:], *nodes[:start])]
    return {
        "model": words("model", site.spec.model),
        "host": words("host", "0.0.0.0"),
        "tensor-parallel-size": words("tensor-parallel-size", role.tp),
        "data-parallel-size": words("data-parallel-size", role.dp),
        "ips": words("ips", ",".join(ordered)) if len(nodes) > 1 else (),
        "enable-expert-parallel": words("enable-expert-parallel", role.expert_parallel),
        "engine-worker-queue-port": _ports("engine-worker-queue-port", seats, "queue"),
        "cache-queue-port": _ports("cache-queue-port", seats, "cache"),
    }


def _transfer(site: Site, seats: Sequence[Seat]) -> Flags:
    """What prefill and decode need to find one another, and what any rank needs to find the router."""
    spec = site.spec
    found: Flags = {}
    if forms.form(spec) == "registered":
        found["router"] = words("router", forms.router_address(spec))
    if spec.disaggregated:
        protocol = forms.transfer_protocol(spec)
        found["splitwise-role"] = words("splitwise-role", site.role.name)
        found["cache-transfer-protocol"] = words("cache-transfer-protocol", protocol)
    if forms.has_transfer_ports(spec):
        found["pd-comm-port"] = _ports("pd-comm-port", seats, "pd")
        found["rdma-comm-ports"] = _ports("rdma-comm-ports", seats, "rdma")
    return found


def _ports(flag: str, seats: Sequence[Seat], name: str) -> tuple[str, str]:
    return f"--{flag}", ports_of(seats, name)


def ports_of(seats: Sequence[Seat], name: str) -> str:
    """All ports of a name, ranks in order: FastDeploy replaces a list of another length by random ports."""
    return ",".join(map(str, dict.fromkeys(port for seat in seats for port in seat.ports[name].ports)))
