"""vLLM-Ascend: contract A (0.9.1, environment) and contract B (from 0.10.1rc1, flags), facts §1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.engines import rules
from dplaunch.engines.adapter import EngineAdapter, Sheet, Site
from dplaunch.engines.ascend import advice, env, kv, kv_rules, lint, releases
from dplaunch.engines.ascend.facts import FACTS
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.facts import Dense, Software
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Env, Flags, secrets, user_flags
from dplaunch.engines.versions import at_least, neighbours
from dplaunch.engines.vllm import advice as vllm_advice
from dplaunch.engines.vllm import parallel
from dplaunch.engines.vllm import releases as vllm_releases
from dplaunch.engines.vllm.dense import dense
from dplaunch.engines.vllm.shell import CONTRACT_A, CONTRACT_B, Contract, Recipe, arguments, context
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec, SecretRef
from dplaunch.model.plan import Seat, StopStep


class Ascend(EngineAdapter):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``vllm-ascend 0.23.0``."""
        return f"vllm-ascend {_version(spec)}"

    def vllm_version(self, spec: ClusterSpec) -> str:
        """The vLLM that this vllm-ascend patches."""
        return _vllm(spec)

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """Problems of the file with this vllm-ascend."""
        unknown = tuple(_unknown_version(spec))
        if any(not problem.warning for problem in unknown):
            return unknown
        version = _version(spec)
        own = (*_environment(spec, version), *_context_parallel(spec, version))
        engine = lint.ascend(version)
        told = (
            *lint.check(spec, engine),
            *vllm_advice.check(spec, engine, self.vllm_version(spec)),
            *advice.check(spec, engine),
        )
        return (*unknown, *own, *kv_rules.check(spec, version), *rules.alike(spec), *told)

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The versions of the file and of the release that it names."""
        return releases.software(_version(spec))

    def dense(self, spec: ClusterSpec) -> Dense:
        """By the vLLM below it."""
        return dense(self.vllm_version(spec))

    def stop(self, spec: ClusterSpec, role: RoleSpec) -> tuple[StopStep, ...]:
        """Not before its requests had their time."""
        return parallel.stop(role, _vllm(spec))

    def kv_width(self, spec: ClusterSpec, role: RoleSpec) -> int:
        """One port per device of a rank."""
        return kv.width(spec, role, _version(spec))

    def binds_kv(self, spec: ClusterSpec, role: RoleSpec) -> bool:
        """Which side listens follows from the connector."""
        return kv.listens(spec, role)

    def files(self, site: Site) -> tuple[Sheet, ...]:
        """The script of this role on this node."""
        version = _version(site.spec)
        recipe = Recipe(
            release=self.release(site.spec),
            contract=_contract(version),
            computed=_computed_env,
            flags=_flags,
        )
        template = "contract_a" if is_contract_a(version) else "contract_b"
        return (Sheet(site.script_path, f"vllm-ascend/{template}.sh.j2", context(site, recipe)),)

    def argv(self, site: Site, seat: Seat) -> tuple[str, ...]:
        """The script with its documented positional arguments."""
        return "bash", site.script_path, *arguments(_contract(_version(site.spec)), site, seat)

    def secrets(self, site: Site, seat: Seat) -> Mapping[str, SecretRef]:
        """Secrets of the file and the API key."""
        return secrets(site, seat)


def _version(spec: ClusterSpec) -> str:
    return spec.engine.version or releases.NEWEST


def _vllm(spec: ClusterSpec) -> str:
    """The vLLM that this vllm-ascend patches."""
    version = _version(spec)
    known = releases.find(version)
    return known.vllm if known else version


def _contract(version: str) -> Contract:
    return CONTRACT_A if is_contract_a(version) else CONTRACT_B


def _computed_env(site: Site, seat: Seat) -> Env:
    return env.computed(site, seat, _version(site.spec))


def _flags(site: Site, seat: Seat) -> Flags:
    block = kv.block(site, seat, _version(site.spec))
    transfer = {"kv-transfer-config": words("kv-transfer-config", block)} if block else {}
    return parallel.computed(site, _vllm(site.spec)) | user_flags(site, seat) | transfer


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
        f"there is no vllm-ascend {version} with a known launch contract",
        key="engine.version",
        hint=f"nearest known: {rules.listed(near)}",
    )


def _environment(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    if is_contract_a(version):
        why = "'{name}' is computed by dplaunch for every rank"
        names = env.CONTRACT_A_ONLY
    else:
        why = (
            "'{name}' must not be set from vllm-ascend 0.10 on: only 0.9.1 reads it as data parallelism, "
            "later engines take their offline mode and die after loading the model"
        )
        names = env.CONTRACT_A_ONLY
    yield from rules.forbidden(spec, names, why, "remove it")
    yield from rules.forbidden(
        spec,
        ("ASCEND_RT_VISIBLE_DEVICES",),
        "'{name}' is computed by dplaunch for every rank",
        "remove it; say how many devices a node has with hardware or devices",
    )


def _context_parallel(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    if at_least(version, "0.12.0rc1"):
        return
    for role in spec.roles:
        for key in ("pcp", "dcp"):
            if getattr(role, key) > 1:
                yield Problem(
                    f"vllm-ascend {version} has no context parallelism",
                    key=f"roles.{role.name}.{key}",
                    hint=f"{key}: 1, or a version from 0.12.0rc1 on",
                )


ADAPTER = Ascend()
