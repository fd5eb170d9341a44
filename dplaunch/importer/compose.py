"""The processes of a source as a cluster file: plain data, section by section, in the file's order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from msgspec import Struct

from dplaunch.engines import facts
from dplaunch.engines.ascend.env import CONTRACT_A_ONLY
from dplaunch.errors import UsageError
from dplaunch.importer import layers, transfer
from dplaunch.importer.engines import ASCEND, FASTDEPLOY, TRANSFER, VISIBLE, Engine, Kind, number
from dplaunch.importer.places import Places, place
from dplaunch.importer.source import Source
from dplaunch.model.cluster import DECODE, PREFILL, SERVE
from dplaunch.placeholders import placeholder
from dplaunch.spec.values import PRESETS

ADDRESSES = ("HCCL_IF_IP", "VLLM_HOST_IP")
INTERFACES = ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME")
HELPERS = ("LOCAL_IP", "MASTER_IP", "NIC_NAME", "SERVER_PORT")
"""Variables that launchers hand to their own scripts; no engine reads them."""
OF_PARENT = ("FD_LOG_DIR", "FD_ENABLE_MULTI_API_SERVER")
"""Variables that dplaunch computes for FastDeploy's parents."""
READY = "VLLM_ENGINE_READY_TIMEOUT_S"
_A2 = 8
"""Devices of an A2's node; one that has more is an A3's."""
_ROUTER_PORTS = range(8000, 8100)
_ROLES = (PREFILL, DECODE, SERVE)
_DBO = re.compile(r"dbo-(?:decode|prefill)-token-threshold")


class Composed(Struct, frozen=True):
    """The cluster file as plain data, and where each process of the source is in it."""

    document: Mapping[str, Any]
    places: Places
    kind: Kind


def compose(source: Source, engines: list[Engine], kind: Kind, name: str) -> Composed:
    """The cluster file of these processes. Raises UsageError where no cluster file can say what they are."""
    places = place(engines, source)
    roles = [role for role in _ROLES if role in places.roles]
    served, model = _served(engines), _model(engines, source)
    topic = str(engines[0].flags.get("scheduler-topic", ""))
    document: dict[str, Any] = {
        "cluster": _name(name or source.name or topic or served[0].rpartition("/")[2]),
        "engine": {"kind": kind.name, "version": kind.version},
        "model": model,
        **({} if served == [model] else {"served_model_name": served[0] if len(served) == 1 else served}),
        **({"ssh": {"user": source.user}} if source.user else {}),
        "hardware": _hardware(engines, kind, source),
        "nodes": _nodes(engines, places, source),
    }
    runtime = {"setup": source.setup, "container": source.container}
    if any(runtime.values()):
        document["runtime"] = {key: value for key, value in runtime.items() if value}
    if source.services:
        first = next(iter(places.nodes.values()))
        document["services"] = {name: {"node": first, **one} for name, one in source.services.items()}
    shared, rest = layers.split((engine, _env(engine)) for engine in engines)
    args, more = layers.split((engine, _args(engine, kind)) for engine in engines)
    defaults = {key: value for key, value in (("env", shared), ("args", args)) if value}
    if len(roles) > 1 and defaults:
        document["defaults"] = defaults
    levels = _Levels(places, {e: rest[e][0] for e in engines}, {e: more[e][0] for e in engines})
    document["roles"] = {role: _role(role, places, kind) for role in roles}
    for role in roles:
        own = levels.role(role)
        if len(roles) == 1:
            own = {"env": {**shared, **own["env"]}, "args": {**args, **own["args"]}}
        document["roles"][role] |= {key: value for key, value in own.items() if value}
    levels.nodes(document["nodes"])
    if section := transfer.section(engines, kind, source):
        document["kv_transfer"] = {**section, **({"store": source.store} if source.store else {})}
    document |= _ports(kind, roles, places, document["roles"])
    document["router"] = _router(source, places)
    if host := engines[0].flags.get("scheduler-host"):
        document["redis"] = {"url": f"redis://{host}:{engines[0].flags.get('scheduler-port', 6379)}"}
    if overrides := levels.overrides():
        document["overrides"] = overrides
    if wait := next((e.launch.env[READY] for e in engines if READY in e.launch.env), ""):
        document["ready_timeout"] = f"{number(wait, 2400)}s"
    return Composed(document, places, kind)


class _Levels:
    """What is left of each process, taken level by level."""

    def __init__(self, places: Places, env: dict[Engine, Any], args: dict[Engine, Any]) -> None:
        self._places = places
        self._left = {"env": env, "args": args}

    def role(self, role: str) -> dict[str, dict[str, Any]]:
        """What all processes of a role have."""
        return {what: self._take(what, self._places.of_role(role)) for what in self._left}

    def nodes(self, nodes: list[dict[str, Any]]) -> None:
        """Add what all processes of a node have to its entry."""
        for entry in nodes:
            here = [e for e in self._places.engines if self._places.nodes[e.host] == entry["name"]]
            for what in self._left:
                if own := self._take(what, here):
                    entry[what] = own

    def overrides(self) -> dict[str, dict[str, Any]]:
        """What single processes have."""
        found: dict[str, dict[str, Any]] = {}
        for engine in self._places.engines:
            own = {what: left[engine] for what, left in self._left.items() if left[engine]}
            if own:
                found[self._places.name(engine)] = own
        return found

    def _take(self, what: str, engines: Sequence[Engine]) -> dict[str, Any]:
        left = self._left[what]
        shared = layers.common([left[engine] for engine in engines])
        left.update({engine: layers.without(left[engine], shared) for engine in engines})
        return shared


def _name(text: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:50]
    return "imported" if not name or placeholder(text) else name


def _served(engines: list[Engine]) -> list[str]:
    given = engines[0].flags.get("served-model-name", engines[0].flags.get("model", ""))
    return [str(name) for name in given] if isinstance(given, list) else [str(given)]


def _model(engines: list[Engine], source: Source) -> str:
    models = list(dict.fromkeys(str(engine.flags.get("model", "")) for engine in engines))
    if not models[0]:
        raise UsageError(f"{engines[0].launch.where}: the engine is given no model")
    if len(models) > 1:
        text = f"engines load different models ({', '.join(models)}): the first was taken"
        source.leave("model", text, "one cluster serves one model: import each by itself")
    return models[0]


def _hardware(engines: list[Engine], kind: Kind, source: Source) -> Any:
    """A preset by the number of devices of a node."""
    highest = max((device + 1 for engine in engines for device in engine.devices), default=0)
    per_host = {engine.host: 0 for engine in engines}
    for engine in engines:
        sizes = engine.sizes
        per_host[engine.host] += sizes["tp"] * sizes["pp"] * sizes["pcp"] * engine.local
    spread = max(number(engine.flags.get("nnodes"), 1) for engine in engines)
    needed = max(source.devices, highest, max(per_host.values()) // spread)
    family = "a3" if kind.name == ASCEND and needed > _A2 else "a2" if kind.name == ASCEND else "gpu"
    fits = (name for name, one in PRESETS.items() if one.family == family and len(one.devices) >= needed)
    found = next(fits, None)
    return found or {"devices": needed, "family": family}


def _nodes(engines: list[Engine], places: Places, source: Source) -> list[dict[str, Any]]:
    entries = []
    for host, name in places.nodes.items():
        entry: dict[str, Any] = {"name": name, "host": host}
        here = [engine for engine in engines if engine.host == host]
        address = source.addresses.get(host) or _address(_given(here, ADDRESSES))
        if address and address != host:
            entry["address"] = address
        if nic := _given(here, INTERFACES):
            entry["nic"] = nic
        if devices := _devices(here):
            entry["devices"] = devices
        entries.append(entry)
    return entries


def _given(engines: Sequence[Engine], names: Sequence[str]) -> str:
    """The value that all these variables have, where it is one of the user's own."""
    found = {engine.launch.env[name] for engine in engines for name in names if name in engine.launch.env}
    value = found.pop() if len(found) == 1 else ""
    return "" if "$" in value or placeholder(value) or value.lower().startswith("your") else value


def _address(text: str) -> str:
    """The text, where it is an IP address."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _devices(engines: Sequence[Engine]) -> list[int]:
    """The devices of a node in the order in which its ranks have them; none where that is the usual order."""
    used: list[int] = []
    for engine in sorted(engines, key=lambda one: (_ROLES.index(one.role), one.rank, one.port)):
        used += [device for device in engine.devices if device not in used]
    return [] if used == list(range(len(used))) else used


def _env(engine: Engine) -> dict[str, str]:
    """What of the environment the file has to say."""
    dropped = {*ADDRESSES, *INTERFACES, *HELPERS, *VISIBLE, *CONTRACT_A_ONLY, *OF_PARENT, READY}
    return {name: value for name, value in engine.launch.env.items() if name not in dropped}


def _args(engine: Engine, kind: Kind) -> dict[str, Any]:
    """What of the command line the file has to say; a switch that is off stays off."""
    known, found = kind.flags, {}
    for name, value in engine.flags.items():
        if name == "args" or target(kind, name):
            continue
        off = value is False and not (known and known.negatable(name))
        found[f"no-{name}" if off else name] = True if off else value
    return found


def target(kind: Kind, flag: str) -> str:
    """The key of the cluster file that stands for a flag; empty for flags without one."""
    keys = facts(kind.name).computed.items()
    return next((key for pattern, key in keys if re.fullmatch(pattern, flag)), "")


def _role(role: str, places: Places, kind: Kind) -> dict[str, Any]:
    first = places.of_role(role)[0]
    sizes = first.sizes
    found: dict[str, Any] = {"nodes": [places.nodes[host] for host in places.roles[role]]}
    groups = places.groups(role)
    if groups > 1:
        found["groups"] = groups
    if first.lb in facts(kind.name).lb and first.lb != "external":
        found["lb"] = first.lb
    found |= {"dp": first.dp, "tp": sizes["tp"]}
    found |= {key: sizes[key] for key in ("pp", "pcp", "dcp") if sizes[key] > 1}
    if first.flags.get("enable-expert-parallel") is True:
        found["ep"] = first.dp * sizes["tp"] * sizes["pcp"]
    if first.flags.get("enable-dbo") is True:
        limits = {
            n.removeprefix("dbo-").replace("-", "_"): v for n, v in first.flags.items() if _DBO.fullmatch(n)
        }
        found["dbo"] = limits or True
    return found


def _ports(
    kind: Kind, roles: Sequence[str], places: Places, sections: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Bases of ports: once where all roles have the same, else in the roles."""
    each = {role: _bases(kind, places.of_role(role)) for role in roles}
    shared = layers.common(list(each.values()))
    for role, bases in each.items():
        if own := layers.without(bases, shared):
            sections[role]["ports"] = own
    return {"ports": shared} if shared else {}


def _bases(kind: Kind, engines: Sequence[Engine]) -> dict[str, int]:
    servers = [engine for engine in engines if engine.serves]
    found = {"http": min(engine.port for engine in servers or engines)}
    if kind.name == FASTDEPLOY:
        return found | _listed_ports(kind, engines[0])
    rpc = [engine.rpc for engine in engines if engine.rpc and "nnodes" not in engine.flags]
    if rpc:
        found["rpc"] = min(rpc)
    if meeting := [engine.rpc for engine in engines if engine.rpc and "nnodes" in engine.flags]:
        found["master"] = min(meeting)
    ports = [kv_port(engine) for engine in engines]
    if kv := [port for port in ports if port]:
        found["kv"] = min(kv)
    return found


def _listed_ports(kind: Kind, engine: Engine) -> dict[str, int]:
    """The first port of every list that the cluster file has a base for."""
    keys = {name: target(kind, name) for name in engine.flags}
    lists = ((key.removeprefix("ports."), name) for name, key in keys.items() if key.startswith("ports."))
    first = {key: number(str(engine.flags[name]).split(",")[0], 0) for key, name in lists if key != "http"}
    return {key: port for key, port in first.items() if port}


def kv_port(engine: Engine) -> int:
    """The port from which on an engine's connector binds; 0 where it is given none."""
    block = engine.flags.get(TRANSFER)
    if not isinstance(block, Mapping):
        return 0
    config = block.get("kv_connector_extra_config")
    listed = config.get("connectors", []) if isinstance(config, Mapping) else []
    ports = (number(entry.get("kv_port"), 0) for entry in (block, *listed))
    return next((port for port in ports if port), 0)


def _router(source: Source, places: Places) -> dict[str, Any]:
    proxy = source.proxies[0] if source.proxies else None
    first = next(iter(places.nodes.values()))
    registers = str(places.engines[0].flags.get("router", ""))
    if registers:
        host, _, port = registers.rpartition(":")
        return {"node": places.nodes.get(host, first), "kind": FASTDEPLOY, "port": number(port, 8000)}
    if proxy is None:
        taken = {engine.port for engine in places.engines if engine.serves}
        return {"node": first, "port": next(port for port in _ROUTER_PORTS if port not in taken)}
    return {"node": places.nodes.get(proxy.host, first), "port": proxy.port}
