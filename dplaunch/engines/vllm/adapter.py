"""vLLM itself: GPUs by CUDA_VISIBLE_DEVICES, or a CPU; KV transfer by NIXL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dplaunch.engines import rules
from dplaunch.engines.adapter import NamedFile, PortNeed, Site, Template
from dplaunch.engines.facts import Dense, Software
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Env, Flags, user_flags
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm import (
    advice,
    context_parallel,
    dbo,
    env_names,
    flag_rules,
    forms,
    kv,
    lint,
    parallel,
    pool,
    releases,
    weights,
)
from dplaunch.engines.vllm.facts import FACTS
from dplaunch.engines.vllm.flagtable import negatable
from dplaunch.engines.vllm.forms import Lines
from dplaunch.engines.vllm.releases import dense
from dplaunch.engines.vllm.shell import Scripted, needs
from dplaunch.engines.vllm.transfer import STORES, names
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec
from dplaunch.model.plan import File, Overlap, Seat

ONE_NIXL_PORT_PER_RANK = "0.14.0"
"""Before it NIXL counted ports by device, as Mooncake does."""

COMPUTED_ENV = ("VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_NIXL_SIDE_CHANNEL_PORT")


class Vllm(Scripted):
    """The adapter."""

    facts = FACTS

    def release(self, spec: ClusterSpec) -> str:
        """``vllm 0.32.0``."""
        return f"vllm {spec.engine.version}".rstrip()

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """Problems of the file with this vLLM."""
        unknown = tuple(releases.check(spec.engine.version))
        usable = all(problem.warning for problem in unknown)
        computed = "'{name}' is computed by dplaunch for every rank"
        return (
            *unknown,
            *rules.forbidden(spec, COMPUTED_ENV, computed, "remove it"),
            *rules.devices_chosen(spec, "CUDA_VISIBLE_DEVICES"),
            *kv.check(spec),
            *_quantization(spec),
            *context_parallel.check(spec, spec.engine.version),
            *context_parallel.check_alone(spec, spec.engine.version),
            *rules.check_agreement(spec),
            *(_lint(spec) if usable else ()),
            *(forms.check(spec, spec.engine.version, self.release(spec)) if usable else ()),
        )

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """The version of the file."""
        return (Software("vllm", (spec.engine.version,), "the cluster file has"),)

    def dense(self, spec: ClusterSpec) -> Dense:
        """By the version of vLLM."""
        return dense(self.vllm(spec))

    def weights(self, spec: ClusterSpec, model: Mapping[str, Any]) -> Iterator[Problem]:
        """What this vLLM refuses to do with the model."""
        yield from weights.check(spec, model, self.release(spec), self.vllm(spec))

    def overlap(self, spec: ClusterSpec, role: RoleSpec) -> Overlap | None:
        """By the thresholds of the file, or vLLM's own."""
        del spec
        return dbo.overlap(role) if role.dbo else None

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """With KV transfer both sides listen; the engine adds its rank to the group's base."""
        if not kv.moves(spec):
            return tuple(needs(role))
        width = 1 if at_least(spec.engine.version, ONE_NIXL_PORT_PER_RANK) else role.tp
        return tuple(needs(role, width, listens=True))

    def template(self, spec: ClusterSpec) -> str:
        """Its script's template."""
        del spec
        return "vllm/run_dp_template.sh.j2"

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """The script of this role on this node, and what its store reads."""
        script = Template(site.script_path, self.template(site.spec), self.context(site))
        return (script, *pool.files(site, self.client(site)))

    def keeps_kv(self, spec: ClusterSpec) -> bool:
        """By the connectors in use."""
        return any(name in STORES for name in names(spec.kv_transfer))

    def client(self, site: Site) -> NamedFile | None:
        """The file that the engines' store reads; None without one."""
        return kv.client(site.spec)

    def sizes(self, site: Site) -> Lines:
        """The layout."""
        return forms.sizes(site)

    def env(self, site: Site, seat: Seat) -> Env:
        """Addresses, devices, time limit, and NIXL's side channel."""
        env: Env = {"VLLM_HOST_IP": "${local_ip}", "GLOO_SOCKET_IFNAME": "${nic_name}"}
        if seat.devices:
            env |= {"NCCL_SOCKET_IFNAME": "${nic_name}", "CUDA_VISIBLE_DEVICES": "${devices}"}
        if at_least(site.spec.engine.version, "0.14.0"):
            env["VLLM_ENGINE_READY_TIMEOUT_S"] = str(int(site.spec.ready_timeout))
        env |= dbo.env(site.role, site.spec.engine.version)
        if kv.moves(site.spec):
            # the same base for the whole group: the engine adds its rank itself
            env["VLLM_NIXL_SIDE_CHANNEL_HOST"] = "${local_ip}"
            env["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(seat.ports["kv"].base)
        client = self.client(site)
        hashes: Env = {"PYTHONHASHSEED": "0"} if client else {}
        return env | hashes | pool.env(client)

    def flags(self, site: Site) -> list[Flags]:
        """The topology's, the file's, and KV transfer."""
        version = self.vllm(site.spec)
        computed = parallel.computed(site, version) | dbo.flags(site.role, version)
        has_no_form = partial(negatable, version)
        return [
            forms.served(
                site, seat, forms.switches(site, seat) | computed | user_flags(site, seat, has_no_form)
            )
            | self._transfer(site, seat)
            for seat in site.seats
        ]

    def _transfer(self, site: Site, seat: Seat) -> Flags:
        block = self.transfer(site, seat)
        return {"kv-transfer-config": words("kv-transfer-config", block)} if block else {}

    def transfer(self, site: Site, seat: Seat) -> dict[str, Any] | None:
        """The ``--kv-transfer-config`` of one engine; None without KV transfer."""
        return kv.block(site, seat)


def _lint(spec: ClusterSpec) -> Iterator[Problem]:
    engine = lint.vllm(spec.engine.version)
    yield from lint.check(spec, engine)
    yield from env_names.check(spec, engine)
    yield from flag_rules.check(spec, engine, spec.engine.version)
    yield from dbo.check(spec, spec.engine.version)
    yield from advice.check(spec, engine, spec.engine.version)


def _quantization(spec: ClusterSpec) -> Iterator[Problem]:
    for place, args in rules.arguments(spec):
        if args.get("quantization") == "ascend":
            yield Problem(
                "quantization ascend is a plugin's: vllm alone does not have it",
                key=f"{place}.quantization",
                hint="remove it, or engine: {kind: vllm-ascend, …}",
            )


ADAPTER = Vllm()
