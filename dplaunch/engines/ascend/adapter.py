"""vLLM-Ascend: contract A (0.9.1, environment) and contract B (from 0.10.1rc1, flags)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dplaunch.engines import rules
from dplaunch.engines.adapter import EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.ascend import advice, env, kv, kv_rules, lint, releases
from dplaunch.engines.ascend.facts import FACTS
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.facts import Dense, Software
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Env, Flags, user_flags
from dplaunch.engines.versions import at_least, neighbours
from dplaunch.engines.vllm import advice as vllm_advice
from dplaunch.engines.vllm import parallel
from dplaunch.engines.vllm import releases as vllm_releases
from dplaunch.engines.vllm.dense import dense
from dplaunch.engines.vllm.ports import needs
from dplaunch.engines.vllm.shell import (
    CONTRACT_A,
    CONTRACT_B,
    Recipe,
    context,
    processes,
    sizes_a,
    sizes_b,
)
from dplaunch.engines.vllm.stand_in import stand_in
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import Flow, Process, Seat


class Ascend(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``vllm-ascend 0.23.0``."""
        return f"vllm-ascend {_version(spec)}"

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """Problems of the file with this vllm-ascend."""
        unknown = tuple(_unknown_version(spec))
        if any(not problem.warning for problem in unknown):
            return unknown
        version = _version(spec)
        own = (*_environment(spec, version), *_context_parallel(spec, version))
        engine = lint.ascend(version)
        warnings = (
            *lint.check(spec, engine),
            *vllm_advice.check(spec, engine, _vllm(spec)),
            *advice.check(spec, engine),
        )
        return (*unknown, *own, *kv_rules.check(spec, version), *rules.check_agreement(spec), *warnings)

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The versions of the file and of the release that it names."""
        return releases.software(_version(spec))

    def dense(self, spec: ClusterSpec) -> Dense:
        """By the vLLM below it."""
        return dense(_vllm(spec))

    def flow(self, spec: ClusterSpec) -> Flow | None:
        """As the connector hands KV over."""
        return kv.flow(spec)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """One KV port for each device of a rank; which side listens follows from the connector."""
        return tuple(needs(role, kv.width(spec, role, _version(spec)), listens=kv.listens(spec, role)))

    def files(self, site: Site) -> tuple[Template, ...]:
        """The script of this role on this node."""
        template = "contract_a" if is_contract_a(_version(site.spec)) else "contract_b"
        values = context(site, self._recipe(site))
        return (Template(site.script_path, f"vllm-ascend/{template}.sh.j2", values),)

    def processes(self, site: Site) -> Iterator[Process]:
        """One for each rank."""
        stop = parallel.stop(site.role, _vllm(site.spec))
        return processes(site, self._recipe(site), site.script_path, stop)

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """The rehearsal engine, as the vLLM below it."""
        return stand_in(_vllm(spec))

    def _recipe(self, site: Site) -> Recipe:
        is_a = is_contract_a(_version(site.spec))
        return Recipe(
            release=self.release(site.spec),
            contract=CONTRACT_A if is_a else CONTRACT_B,
            sizes=sizes_a(site.role) if is_a else sizes_b(site.role),
            computed=_computed_env,
            flags=partial(_flags, parallel.computed(site, _vllm(site.spec))),
        )


def _version(spec: ClusterSpec) -> str:
    return spec.engine.version or releases.NEWEST


def _vllm(spec: ClusterSpec) -> str:
    """The vLLM that this vllm-ascend patches."""
    version = _version(spec)
    known = releases.find(version)
    return known.vllm if known else version


def _computed_env(site: Site, seat: Seat) -> Env:
    return env.computed(site, seat, _version(site.spec))


def _flags(computed: Flags, site: Site, seat: Seat) -> Flags:
    block = kv.block(site, seat, _version(site.spec))
    transfer = {"kv-transfer-config": words("kv-transfer-config", block)} if block else {}
    return computed | user_flags(site, seat) | transfer


def _unknown_version(spec: ClusterSpec) -> Iterator[Problem]:
    version = spec.engine.version
    if not version or releases.find(version):
        return
    if at_least(version, releases.NEWEST):
        what = f"newer than {releases.NEWEST}, the newest known here"
        yield vllm_releases.unknown("vllm-ascend", version, what, releases.NEWEST)
        return
    near = neighbours(version, (r.version for r in releases.RELEASES))
    yield Problem(
        f"dplaunch does not know how to launch vllm-ascend {version}",
        key="engine.version",
        hint=f"use {' or '.join(near)}, the nearest known",
    )


def _environment(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    computed = "'{name}' is computed by dplaunch for every rank"
    offline = (
        "'{name}' must not be set from vllm-ascend 0.10 on: only 0.9.1 reads it as data parallelism, "
        "later engines enter their offline mode and die after loading the model"
    )
    why = computed if is_contract_a(version) else offline
    yield from rules.forbidden(spec, env.CONTRACT_A_ONLY, why, "remove it")
    yield from rules.forbidden(
        spec,
        ("ASCEND_RT_VISIBLE_DEVICES",),
        computed,
        "remove it; set hardware or devices to the number of devices of a node",
    )


def _context_parallel(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    if at_least(version, "0.12.0rc1"):
        return
    for role in spec.roles:
        for key in ("pcp", "dcp"):
            if getattr(role, key) > 1:
                yield Problem(
                    f"vllm-ascend {version} does not support context parallelism",
                    key=f"roles.{role.name}.{key}",
                    hint=f"{key}: 1, or a version from 0.12.0rc1 on",
                )


ADAPTER = Ascend()
