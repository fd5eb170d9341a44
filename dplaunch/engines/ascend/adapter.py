"""vLLM-Ascend: contract A (0.9.1, environment) and contract B (from 0.10.1rc1, flags)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.engines import rules
from dplaunch.engines.adapter import NamedFile, PortNeed, Site
from dplaunch.engines.ascend import advice, dbo, env, kv, kv_rules, lint, releases, store
from dplaunch.engines.ascend.connectors import Kind, transfer_connectors
from dplaunch.engines.ascend.facts import FACTS
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.facts import Software
from dplaunch.engines.settings import Env
from dplaunch.engines.versions import at_least, neighbours
from dplaunch.engines.vllm import advice as vllm_advice
from dplaunch.engines.vllm import context_parallel, env_names, flag_rules, forms, pool
from dplaunch.engines.vllm import releases as vllm_releases
from dplaunch.engines.vllm.adapter import Vllm
from dplaunch.engines.vllm.forms import CONTRACT_A, Contract, Lines
from dplaunch.engines.vllm.shell import needs, sizes_a
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec, ServiceSpec
from dplaunch.model.plan import Flow, Overlap, Seat


class Ascend(Vllm):
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
        own = (
            *_environment(spec, version),
            *_context_parallel(spec, version),
            *context_parallel.check(spec, self.vllm(spec)),
            *forms.check(spec, self.vllm(spec), self.release(spec)),
        )
        engine = lint.ascend(version)
        warnings = (
            *lint.check(spec, engine),
            *env_names.check(spec, engine),
            *flag_rules.check(spec, engine, self.vllm(spec)),
            *vllm_advice.check(spec, engine, self.vllm(spec)),
            *advice.check(spec, engine),
            *dbo.check(spec, engine),
        )
        return (*unknown, *own, *kv_rules.check(spec, version), *rules.check_agreement(spec), *warnings)

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The versions of the file and of the release that it names."""
        return releases.software(_version(spec))

    def flow(self, spec: ClusterSpec) -> Flow | None:
        """As the connector hands KV over."""
        return kv.flow(spec)

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """One KV port for each device of a rank; which side listens follows from the connector."""
        return tuple(needs(role, kv.width(spec, role, _version(spec)), listens=kv.listens(spec, role)))

    def weights(self, spec: ClusterSpec, model: Mapping[str, Any]) -> Iterator[Problem]:
        """What this vllm-ascend, or the vLLM below it, refuses to do with the model."""
        yield from super().weights(spec, model)
        yield from dbo.check_model(spec, model, _version(spec))

    def overlap(self, spec: ClusterSpec, role: RoleSpec) -> Overlap | None:
        """By thresholds that cannot be changed."""
        on = role.dbo is not None and not at_least(_version(spec), dbo.GONE)
        return dbo.overlap(role) if on else None

    def vllm(self, spec: ClusterSpec) -> str:
        """The vLLM that this vllm-ascend patches."""
        version = _version(spec)
        known = releases.find(version)
        return known.vllm if known else version

    def contract(self, site: Site) -> Contract:
        """A for a rank until 0.9.1."""
        return CONTRACT_A if env.has_contract_a(site, _version(site.spec)) else forms.contract(site)

    def template(self, spec: ClusterSpec) -> str:
        """Its script's template."""
        return f"vllm-ascend/contract_{'a' if is_contract_a(_version(spec)) else 'b'}.sh.j2"

    def sizes(self, site: Site) -> Lines:
        """The layout, as far as it is given by flags."""
        by_env = env.has_contract_a(site, _version(site.spec))
        return sizes_a(site.role) if by_env else forms.sizes(site)

    def env(self, site: Site, seat: Seat) -> Env:
        """What addresses, hardware, connector and version need."""
        return env.computed(site, seat, _version(site.spec)) | pool.env(self.client(site))

    def keeps_kv(self, spec: ClusterSpec) -> bool:
        """By the connectors in use."""
        return any(one.kind is Kind.STORE for one in transfer_connectors(spec.kv_transfer))

    def client(self, site: Site) -> NamedFile | None:
        """By the pool's backend."""
        return store.client(site, _version(site.spec))

    def service_file(self, spec: ClusterSpec, service: ServiceSpec) -> NamedFile | None:
        """That of MemCache's MetaService."""
        return store.meta_file(spec, service)

    def transfer(self, site: Site, seat: Seat) -> dict[str, Any] | None:
        """The ``--kv-transfer-config`` of one engine; None without KV transfer."""
        return kv.block(site, seat, _version(site.spec))


def _version(spec: ClusterSpec) -> str:
    return spec.engine.version or releases.NEWEST


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
    yield from rules.devices_chosen(spec, "ASCEND_RT_VISIBLE_DEVICES")


def _context_parallel(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    """Source: vllm-ascend, vllm_ascend/platform.py of 0.22.1rc1 to 0.25.1rc1 (_validate_parallel_config)."""
    for role in spec.roles if at_least(version, "0.22.1rc1") else ():
        yield from _prefill_context_parallel(role, version)
    for role in spec.roles if not at_least(version, "0.12.0rc1") else ():
        for key in ("pcp", "dcp"):
            if getattr(role, key) > 1:
                yield Problem(
                    f"vllm-ascend {version} does not support context parallelism",
                    key=f"roles.{role.name}.{key}",
                    hint=f"{key}: 1, or a version from 0.12.0rc1 on",
                )


def _prefill_context_parallel(role: RoleSpec, version: str) -> Iterator[Problem]:
    key = f"roles.{role.name}.pcp"
    if role.pcp > 1 and at_least(version, "0.25.0rc0"):
        if role.env.get("VLLM_USE_V2_MODEL_RUNNER", "0") in ("", "0"):
            text = f"vllm-ascend {version} refuses pcp, which is {role.pcp} for {role.name}"
            yield Problem(text, key=key, hint="pcp: 1")
    elif role.pcp > 1 and role.dp > 1:
        text = f"vllm-ascend {version} refuses pcp {role.pcp} together with dp {role.dp} of {role.name}"
        yield Problem(text, key=key, hint=f"pcp: 1; or dp: 1, and groups: {role.dp * role.groups}")


ADAPTER = Ascend()
