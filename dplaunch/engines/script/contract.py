"""Which positional argument of a user's own script reaches which flag, and what it fixes instead.

dplaunch calls a script once for each rank; a script that ignores its arguments, or mixes them up, would
start all ranks as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from dplaunch.engines.script.own import Own
from dplaunch.engines.script.reading import Given, Script, flags
from dplaunch.engines.vllm.forms import CONTRACT_A, Contract
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RoleSpec

HYBRID = "data-parallel-hybrid-lb"
NODE_FLAGS = ("headless", "data-parallel-size-local", "data-parallel-start-rank", HYBRID)
_RANK_TOO = ("data-parallel-start-rank", "dpr")
_VISIBLE = ("ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES")


class Target(NamedTuple):
    """Where one positional argument belongs; ``fixed``: what it may be instead, None if nothing may."""

    argument: str
    flags: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    fixed: Callable[[ClusterSpec, RoleSpec], str | None] = lambda _spec, _role: None

    @property
    def written(self) -> str:
        """As a script writes it."""
        return f"--{self.flags[0]}" if self.flags else self.variables[0]


def _master(spec: ClusterSpec, role: RoleSpec) -> str | None:
    """The address of rank 0, where the role has one group."""
    if role.groups > 1:
        return None
    name = (role.masters or role.nodes)[0]
    return next((node.address for node in spec.nodes if node.name == name), None)


def _any_rpc_port(_: ClusterSpec, role: RoleSpec) -> str | None:
    """A fixed port will do where only one group meets there."""
    return None if role.groups > 1 else ""


_SIZE = Target("dp_size", ("data-parallel-size", "dp"), fixed=lambda _, role: str(role.dp))
_FLAGS_B = (
    Target("devices", variables=_VISIBLE),
    Target("http_port", ("port",)),
    _SIZE,
    Target("dp_rank", ("data-parallel-rank", "dpn", *_RANK_TOO)),
    Target("dp_address", ("data-parallel-address", "dpa"), fixed=_master),
    Target(
        "dp_rpc_port",
        ("data-parallel-rpc-port", "dpp"),
        fixed=_any_rpc_port,
    ),
    Target("tp_size", ("tensor-parallel-size", "tp"), fixed=lambda _, role: str(role.tp)),
)
_FLAGS_A = (
    Target("dp_size", variables=("VLLM_DP_SIZE",), fixed=lambda _, role: str(role.dp)),
    Target("dp_address", variables=("VLLM_DP_MASTER_IP",), fixed=_master),
    Target(
        "dp_rpc_port",
        variables=("VLLM_DP_MASTER_PORT",),
        fixed=_any_rpc_port,
    ),
    Target("dp_rank_local", variables=("VLLM_DP_RANK_LOCAL",)),
    Target("dp_rank", variables=("VLLM_DP_RANK",)),
    Target("http_port", ("port",)),
    Target("dp_size_local", variables=("VLLM_DP_SIZE_LOCAL",), fixed=lambda _, _role: ""),
)
_DATA_PARALLEL = ("dp_size", "dp_rank", "dp_rank_local", "dp_size_local", "dp_address", "dp_rpc_port")


class _Reach(Struct, frozen=True):
    """How arguments reach one role's engines through one script."""

    spec: ClusterSpec
    own: Own
    role: RoleSpec
    contract: Contract
    env: Mapping[str, Given]

    def judge(self, target: Target, command: list[Given]) -> Problem | None:
        """What is wrong with one argument in one command; None where it arrives, or cannot be followed."""
        given = next((flag for flag in command if flag.name in target.flags), None)
        given = given or next((self.env[name] for name in target.variables if name in self.env), None)
        if given is None:
            return self._missing(target)
        used = {int(digit) for digit in re.findall(r"\$\{?(\d)", given.value or "")}
        if self._position(target) in used:
            return None
        if used:
            return self._crossed(target, given, min(used))
        return None if "$" in (given.value or "") else self._fixed(target, given)

    def _missing(self, target: Target) -> Problem | None:
        if not _matters(self.spec, self.role, target):
            return None
        effect = _EFFECTS.get(target.argument, f"{self.role.name} would run with vLLM's default")
        text = f"gives no {target.written}, which its argument {target.argument} is for: {effect}"
        return self._problem(f"{self.own.name} {text}", target)

    def _crossed(self, target: Target, given: Given, other: int) -> Problem:
        last = len(self.contract)
        meant = self.contract[other - 1] if 0 < other <= last else "not an argument"
        right = f"{target.argument} is ${self._position(target)}"
        return self._problem(f"{self._where(target, given)} gets ${other}, which is {meant}; {right}", target)

    def _fixed(self, target: Target, given: Given) -> Problem | None:
        """A literal is right where all ranks have the same, and it is the file's."""
        role, expected = self.role, target.fixed(self.spec, self.role)
        alone = expected is None and role.groups * role.dp == 1
        if alone or expected in ("", given.value) or not _matters(self.spec, role, target):
            return None
        effect = f"every rank of {role.name} would get it"
        if expected is not None:
            effect = f"{role.name} has {expected} in the file"
        text = f"{self._where(target, given)} is fixed to {given.value or 'nothing'}, and {effect}"
        return self._problem(text, target)

    def _where(self, target: Target, given: Given) -> str:
        name = f"--{given.name}" if given.name in target.flags else given.name
        return f"{self.own.name} line {given.line}: {name}"

    def _position(self, target: Target) -> int:
        return self.contract.index(target.argument) + 1

    def _problem(self, text: str, target: Target) -> Problem:
        joint = " " if target.flags else "="
        return Problem(text, key=self.own.key, hint=f"write {target.written}{joint}${self._position(target)}")


_EFFECTS = {
    "devices": "all engines of a node would use the same devices",
    "http_port": "every engine would listen on vLLM's own port 8000",
    "dp_rank": "every process would be rank 0",
}


def check(spec: ClusterSpec, own: Own, script: Script, contract: Contract) -> Iterator[Problem]:
    """Every argument that does not arrive where it belongs."""
    commands = [flags(words) for words in script.serves()]
    if not commands or script.blind:
        return
    yield from _node_script(own, commands)
    if not script.uses_arguments:
        yield Problem(
            f"{own.name} never uses its arguments, which say what each rank is",
            key=own.key,
            hint=f"use them: {' '.join(f'${n} {name}' for n, name in enumerate(contract, 1))}",
        )
    env = script.environment()
    for role in own.roles:
        reach = _Reach(spec, own, role, contract, env)
        for target in _FLAGS_A if contract is CONTRACT_A else _FLAGS_B:
            found = [reach.judge(target, command) for command in commands]
            if all(found) and found[0]:
                yield found[0]


def _node_script(own: Own, commands: list[list[Given]]) -> Iterator[Problem]:
    found = [flag for command in commands for flag in command if flag.name in NODE_FLAGS]
    if found:
        names = ", ".join(dict.fromkeys(f"--{flag.name}" for flag in found))
        lb = "hybrid" if any(flag.name == HYBRID for flag in found) else "internal"
        yield Problem(
            f"{own.name} line {found[0].line}: {names}: this is a node script of vLLM's {lb} load "
            "balancer, which starts all ranks of a node, and dplaunch calls a script once for each rank",
            key=own.key,
            hint=f"let dplaunch write it: engine: {{kind: vllm-ascend}}, or vllm, and lb: {lb} in the role "
            f"give each node such a command, with its other flags in args; or remove {names} and write "
            "ASCEND_RT_VISIBLE_DEVICES=$1 --port $2 --data-parallel-size $3 --data-parallel-rank $4 "
            "--data-parallel-address $5 --data-parallel-rpc-port $6 --tensor-parallel-size $7",
        )


def _matters(spec: ClusterSpec, role: RoleSpec, target: Target) -> bool:
    """Whether engines would differ in it, or run with another value than the file's."""
    if target.argument in _DATA_PARALLEL:
        return role.dp > 1
    if target.argument == "tp_size":
        return role.tp > 1
    if target.argument == "devices":
        return any(_shares(spec, node, role) for node in spec.nodes if node.name in role.nodes)
    return True


def _shares(spec: ClusterSpec, node: NodeSpec, role: RoleSpec) -> bool:
    """Whether an engine has only some devices of a node."""
    there = (other for other in spec.roles if node.name in other.nodes)
    engines = sum(other.groups * other.dp // len(other.nodes) for other in there)
    devices = len(node.devices)
    return devices > 0 and (engines > 1 or role.devices_per_rank < devices)
