"""omni-infer's ``server_profiles.yml``: an inventory with the roles P, D and C, a machine and a command each.

Source: omni-infer, omni_cli's main.py (what it computes of an inventory before a start) and
tools/scripts/start_api_servers.py (what that starts, one engine for each rank).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from dplaunch.engines.flags import to_json
from dplaunch.errors import UsageError
from dplaunch.importer.source import Proxy, Source
from dplaunch.model.cluster import DECODE, PREFILL
from dplaunch.model.imported import Launch

_ROLES = {"P": PREFILL, "D": DECODE}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_DEFAULTS = {
    "base-api-port": "9000",
    "master-port": "8000",
    "gpu-memory-utilization": "0.9",
    "block-size": "128",
}
_PASSED = ("gpu-memory-utilization", "block-size", "served-model-name", "max-model-len", "load-format")
"""Arguments of the starter that are the engine's own flags."""
_LAUNCHER = frozenset(
    (
        *("ROLE", "API_PORT", "MASTER_PORT", "HOST_IP", "SERVER_OFFSET", "PREFILL_POD_NUM", "SERVER_IP_LIST"),
        *("KV_RANK", "MODEL_PATH", "LOG_PATH", "CODE_PATH"),
    )
)
"""Variables by which an inventory tells its own launcher what to do."""
_KNOWN = {
    *("ansible_host", "ansible_user", "ansible_ssh_private_key_file", "ansible_ssh_common_args", "host_ip"),
    *("ascend_rt_visible_devices", "container_name", "env", "args", "groups"),
    "master_node",
}
_STARTER = {
    *(*_DEFAULTS, *_PASSED, "num-servers", "num-dp", "server-offset", "model-path", "master-ip", "tp", "pp"),
    "gpu-util",
    *("max-port-attempts", "kv-transfer-config", "extra-args", "additional-config", "log-dir", "enable-mtp"),
    *("num-speculative-tokens", "no-enable-prefix-caching", "no-enable-chunked-prefill"),
    "distributed-executor-backend",
}


class _Machine(Struct, frozen=True):
    """One entry of the inventory: where, which part, with which environment and arguments."""

    name: str
    role: str
    host: str
    env: Mapping[str, str]
    args: Mapping[str, Any]
    devices: tuple[str, ...]
    first: int
    """The first rank here."""

    def value(self, name: str, default: str = "") -> str:
        """An argument as text, with the variables of the machine put in."""
        found = self.args.get(name)
        return self.fill(str(_DEFAULTS.get(name, default) if found is None else found))

    def fill(self, text: str) -> str:
        """The text with the variables of the machine put in."""
        return _fill(text, self.env)

    @property
    def tp(self) -> int:
        """Devices of a rank."""
        return int(self.value("tp", "1"))

    @property
    def ranks(self) -> int:
        """How many engines it starts."""
        return len(self.devices) // self.tp


def recognised(document: Mapping[str, Any]) -> bool:
    """Whether this is such an inventory."""
    children = (document.get("all") or {}).get("children") or {}
    return {"P", "D"} <= children.keys() if isinstance(children, Mapping) else False


def read_profiles(document: Mapping[str, Any], name: str, source: Source) -> None:
    """Every engine that the inventory starts, and its proxy."""
    children = document["all"]["children"]
    machines = [machine for role in _ROLES for machine in _machines(role, children[role].get("hosts") or {})]
    together = sum(machine.ranks for machine in machines if machine.role == DECODE)
    ports: dict[str, list[tuple[str, int]]] = {PREFILL: [], DECODE: []}
    for machine in machines:
        size = machine.ranks if machine.role == PREFILL else together
        if not machine.ranks:
            text = f"{name}: {machine.name} has {len(machine.devices)} devices, and tp is {machine.tp}"
            hint = "dplaunch hands KV over only between engines on one node each: choose a tp that fits one"
            raise UsageError(text, hint=hint)
        for index in range(machine.ranks):
            where = f"{name}: {machine.name}, rank {machine.first + index}"
            source.launches.append(_launch(machine, index, size, where))
            ports[machine.role].append((machine.host, int(machine.value("base-api-port")) + index))
        if machine.host.startswith(("127.", "localhost")):
            source.leave(
                f"{name}: {machine.name}", "its address is this machine's own", "write the node's address"
            )
    for proxy, entry in (children.get("C") or {}).get("hosts", {}).items():
        where, port = f"{name}: {proxy}", str((entry.get("env") or {}).get("API_PORT", "8000"))
        found = Proxy(
            str(entry.get("ansible_host", proxy)),
            int(port),
            tuple(ports[PREFILL]),
            tuple(ports[DECODE]),
            where,
        )
        source.proxies.append(found)
        source.leave(where, "dplaunch's router takes the place of the proxy on nginx", matters=False)
    _leave_rest(children, name, source)
    _container(children, name, source)
    own = sorted({key for machine in machines for key in machine.env.keys() & _LAUNCHER})
    source.leave(name, f"variables of the inventory's own launcher: {', '.join(own)}", matters=False)


def _machines(role: str, hosts: Mapping[str, Any]) -> Iterator[_Machine]:
    first = 0
    for name, entry in hosts.items():
        written = {
            key: "" if value is None else str(value) for key, value in (entry.get("env") or {}).items()
        }
        own = str(entry.get("host_ip") or written.get("HOST_IP") or entry.get("ansible_host", ""))
        env = {**written, "HOST_IP": own}
        devices = str(entry.get("ascend_rt_visible_devices", "")).replace(" ", "").strip(",")
        machine = _Machine(
            name=str(name),
            role=_ROLES[role],
            host=str(entry.get("ansible_host", name)),
            env={key: _fill(value, env) for key, value in env.items()},
            args=entry.get("args") or {},
            devices=tuple(devices.split(",")) if devices else (),
            first=first,
        )
        yield machine
        first += machine.ranks if role == "D" else 0


def _fill(text: str, env: Mapping[str, str]) -> str:
    """The text with variables put in; those of nobody stay, in braces."""
    return _VARIABLE.sub(lambda match: env.get(match[1] or match[2], f"${{{match[1] or match[2]}}}"), text)


def _launch(machine: _Machine, index: int, size: int, where: str) -> Launch:
    rank = machine.first + index
    words = [
        machine.value("model-path"),
        "--trust-remote-code",
        "--pipeline-parallel-size",
        machine.value("pp", "1"),
    ]
    for name in _PASSED:
        short = machine.value("gpu-util") if name == "gpu-memory-utilization" else ""
        if value := short or machine.value(name):
            words += [f"--{name}", value]
    words += [
        "--tensor-parallel-size",
        str(machine.tp),
        "--port",
        str(int(machine.value("base-api-port")) + index),
    ]
    words += ["--data-parallel-address", machine.value("master-ip") or machine.env["HOST_IP"]]
    words += ["--data-parallel-rpc-port", machine.value("master-port")]
    if size > 1:
        words += ["--data-parallel-size", str(size), "--data-parallel-rank", str(rank)]
    devices = machine.devices[index * machine.tp : (index + 1) * machine.tp]
    env = {name: value for name, value in machine.env.items() if name not in _LAUNCHER and "$(" not in value}
    env |= {
        "VLLM_DP_SIZE": str(size),
        "VLLM_DP_RANK": str(rank),
        "VLLM_DP_RANK_LOCAL": str(rank),
        "VLLM_DP_MASTER_IP": words[words.index("--data-parallel-address") + 1],
        "VLLM_DP_MASTER_PORT": machine.value("master-port"),
        "ASCEND_RT_VISIBLE_DEVICES": ",".join(devices),
    }
    return Launch(machine.host, (*words, *_further(machine)), env, where, machine.role)


def _further(machine: _Machine) -> Iterator[str]:
    """What the starter adds to its engines' command lines from arguments of its own."""
    if "enable-mtp" in machine.args:
        tokens = int(machine.value("num-speculative-tokens", "1"))
        yield from ("--speculative-config", to_json({"method": "mtp", "num_speculative_tokens": tokens}))
    for name in ("kv-transfer-config", "additional-config"):
        given = machine.args.get(name)
        if given:
            yield from (f"--{name}", machine.fill(given if isinstance(given, str) else to_json(given)))
    extra = machine.args.get("extra-args") or {}
    listed = extra.items() if isinstance(extra, Mapping) else ((part, "") for part in str(extra).split("--"))
    for name, value in listed:
        head, _, rest = str(name).strip().partition(" ")
        if head:
            given = machine.fill(str(value) or rest.strip())
            yield from (f"--{head}", *([given] if given else []))
    if backend := machine.value("distributed-executor-backend"):
        yield from ("--distributed-executor-backend", backend)
    for name in ("no-enable-prefix-caching", "no-enable-chunked-prefill"):
        if name in machine.args:
            yield f"--{name}"


def _container(children: Mapping[str, Any], name: str, source: Source) -> None:
    """The container in which everything runs: one name on all nodes."""
    entries = [entry for group in _ROLES for entry in (children[group].get("hosts") or {}).values()]
    names = list(
        dict.fromkeys(str(entry["container_name"]) for entry in entries if "container_name" in entry)
    )
    if len(names) == 1:
        source.container = names[0]
    elif names:
        some = f"{names[0]}, {names[1]} …"
        text = f"containers have different names ({some}): runtime.container is one for all nodes"
        source.leave(name, text, "runtime: {container: NAME}, or image: for one that dplaunch starts")


def _leave_rest(children: Mapping[str, Any], name: str, source: Source) -> None:
    for group in _ROLES:
        for machine, entry in (children[group].get("hosts") or {}).items():
            for key in entry.keys() - _KNOWN:
                source.leave(f"{name}: {machine}", f"{key} was not carried over")
            for key in (entry.get("args") or {}).keys() - _STARTER:
                source.leave(f"{name}: {machine}", f"the starter's argument {key} was not carried over")
            for key, value in (entry.get("env") or {}).items():
                if "$(" in str(value):
                    text = f"{key} is the output of a command, `{value}`: only its node knows it"
                    source.leave(f"{name}: {machine}", text, "write its value into env")
            if user := entry.get("ansible_user"):
                source.user = str(user)
