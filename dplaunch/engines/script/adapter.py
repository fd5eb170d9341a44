"""The user's own run_dp_template.sh, byte for byte; its contract is recognised from what it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dplaunch.engines import rules
from dplaunch.engines.adapter import PortNeed, Site, Template
from dplaunch.engines.ascend import lint as ascend_lint
from dplaunch.engines.ascend import releases
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.facts import EngineFacts
from dplaunch.engines.script import agreement, contract, reading
from dplaunch.engines.script import lint as script_lint
from dplaunch.engines.script.own import Own, script_of, scripts
from dplaunch.engines.settings import Env
from dplaunch.engines.versions import parse
from dplaunch.engines.vllm import env_names
from dplaunch.engines.vllm import lint as vllm_lint
from dplaunch.engines.vllm.facts import (
    API,
    BANNERS,
    CHATTER,
    COMPUTED,
    KEY_ENV,
    METRICS,
    PORTS,
    SCRIPT,
    STAGES,
)
from dplaunch.engines.vllm.forms import CONTRACT_A, CONTRACT_B, Contract
from dplaunch.engines.vllm.lint import Engine
from dplaunch.engines.vllm.parallel import STOP
from dplaunch.engines.vllm.shell import Scripted, group_devices, needs
from dplaunch.errors import Problem
from dplaunch.model.cluster import NPUS, ClusterSpec, RoleSpec
from dplaunch.model.plan import File, Seat, StopStep

FACTS = EngineFacts(
    kind="script",
    needs=frozenset(("path",)),
    ports=PORTS,
    script=SCRIPT,
    key_env=KEY_ENV,
    api=API,
    metrics=METRICS,
    stages=STAGES,
    banners=BANNERS,
    chatter=CHATTER,
    computed=COMPUTED,
    without_dbo="the script itself gives the engine its flags",
)
"""Whatever the script starts is some vLLM."""

_A = re.compile(r"\bVLLM_DP_(?:SIZE|RANK|MASTER)\w*\s*=\s*[\"']?\$\{?\d")
_B = re.compile(r"--data-parallel-(?:size|rank|address|rpc-port)\b")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)

ENGINE_OFFLINE = (
    "the script exports VLLM_DP_* from its arguments, which only vllm-ascend 0.9.1 reads as data "
    "parallelism: {version} would take its offline mode and die after loading the model"
)


def contracts(text: str) -> tuple[Contract, ...]:
    """The contracts a script seems written for: one is clear, none or both are not."""
    code = _COMMENT.sub("", text)
    found = ((CONTRACT_A, _A), (CONTRACT_B, _B))
    return tuple(contract for contract, pattern in found if pattern.search(code))


class Script(Scripted):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``script for 0.23.0``."""
        return f"script for {spec.engine.version}" if spec.engine.version else "script"

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """Problems of the scripts, and of keys that only a script could honour."""
        computed = "'{name}' is computed by dplaunch for every rank"
        each = (problem for own in scripts(spec) for problem in self._script(spec, own))
        return (
            *each,
            *_unused(spec),
            *rules.forbidden(spec, ("LOCAL_IP", "NIC_NAME"), computed, "remove it"),
            *_switches(spec),
        )

    def _script(self, spec: ClusterSpec, own: Own) -> Iterator[Problem]:
        unclear = (*_era(spec, own), *script_lint.structure(own))
        read, engine = reading.read(own.text), _engine(spec)
        yield from (*unclear, *script_lint.shape(own), *script_lint.broken_json(own, read))
        yield from script_lint.unfilled(own, read)
        if engine:
            yield from script_lint.by_version(spec, own, read, engine)
        if not unclear:  # else the rest would only follow from it
            yield from contract.check(spec, own, read, _contract(spec))
            yield from agreement.check(spec, own, read)
            if engine:
                known = releases.find(engine.version) if engine.name == "vllm-ascend" else None
                yield from agreement.check_flags(own, read, engine, known.vllm if known else engine.version)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """The script chooses its own KV ports."""
        del spec
        return tuple(needs(role))

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """A script that prepares the shell, and the user's own."""
        own = File(site.script_path, script_of(site.spec, site.role), 0o755)
        return Template(self.start_path(site), "script/start.sh.j2", self.context(site)), own

    def contract(self, site: Site) -> Contract:
        """The one that the script seems written for."""
        return _contract(site.spec)

    def env(self, site: Site, seat: Seat) -> Env:
        """What a script that is the same on every node cannot know."""
        env: Env = {"LOCAL_IP": "${local_ip}", "NIC_NAME": "${nic_name}", "VLLM_HOST_IP": "${local_ip}"}
        if seat.devices and _contract(site.spec) is CONTRACT_A:
            env["ASCEND_RT_VISIBLE_DEVICES"] = group_devices(site, seat)
        return env

    def start_path(self, site: Site) -> str:
        """The script that prepares the shell."""
        return f"{site.role.name}/start.sh"

    def stop(self, site: Site) -> tuple[StopStep, ...]:
        """What the script has its engine do after a signal is not known."""
        del site
        return STOP


def _contract(spec: ClusterSpec) -> Contract:
    found = (contract for own in scripts(spec) for contract in contracts(own.text))
    return next(found, CONTRACT_B)


def _era(spec: ClusterSpec, own: Own) -> Iterator[Problem]:
    found = contracts(own.text)
    version = spec.engine.version
    if len(found) != 1:
        which = "both VLLM_DP_* and" if found else "neither VLLM_DP_* nor"
        yield Problem(
            f"{own.path} reads {which} --data-parallel-*: "
            "dplaunch cannot know the order of its positional arguments",
            key=own.key,
            hint="0.9.1: export VLLM_DP_SIZE=$1 …; from 0.10 on: --data-parallel-size $3 … "
            "(DEVICES HTTP_PORT DP_SIZE DP_RANK DP_ADDRESS DP_RPC_PORT TP_SIZE)",
        )
        return
    if not version or parse(version) is None:
        return
    if found == (CONTRACT_A,) and not is_contract_a(version):
        yield Problem(
            ENGINE_OFFLINE.format(version=version),
            key=own.key,
            hint="pass the layout as --data-parallel-size/-rank/-address/-rpc-port instead",
        )
    if found == (CONTRACT_B,) and is_contract_a(version):
        yield Problem(
            f"the script uses --data-parallel-* flags, and {version} has no --data-parallel-rank",
            key=own.key,
            hint="export VLLM_DP_SIZE=$1 VLLM_DP_MASTER_IP=$2 …, or use a newer engine",
        )


def _engine(spec: ClusterSpec) -> Engine | None:
    """Whose flags and switches the scripts give; None where the version is not known."""
    version = spec.engine.version
    if not version or parse(version) is None:
        return None
    on_npu = spec.hardware.family in NPUS
    return ascend_lint.ascend(version) if on_npu else vllm_lint.vllm(version)


def _switches(spec: ClusterSpec) -> Iterator[Problem]:
    """Switches of the file that this version does not take."""
    if engine := _engine(spec):
        lint = ascend_lint.check if engine.name == "vllm-ascend" else vllm_lint.check
        yield from lint(spec, engine)
        yield from env_names.check(spec, engine)


def _unused(spec: ClusterSpec) -> Iterator[Problem]:
    """Find keys of the file that would never reach the script."""
    if spec.kv_transfer is not None:
        yield Problem(
            "kv_transfer has no effect with a script: the script itself gives --kv-transfer-config",
            key="kv_transfer",
            hint="remove kv_transfer",
        )
    for place, args in rules.arguments(spec):
        if args:
            yield Problem(
                f"args have no effect with a script ({', '.join(args)})",
                key=place,
                hint="put the flags into the script",
            )


ADAPTER = Script()
