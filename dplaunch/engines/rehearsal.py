"""The rehearsal engine: planned and started exactly as the engine it stands for, on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dplaunch.engines.adapter import EngineAdapter, ReservedPorts, Sheet, Site
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec, SecretRef
from dplaunch.model.plan import File, Seat, Stage, StopStep


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The adapter: everything is ``stands_for``'s, whose file it also must satisfy."""

    stands_for: EngineAdapter

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those of the engine it stands for."""
        return self.stands_for.stages

    @property
    def stop(self) -> tuple[StopStep, ...]:
        """That of the engine it stands for."""
        return self.stands_for.stop

    @property
    def reserved(self) -> tuple[ReservedPorts, ...]:
        """None: nothing of the real engine's libraries runs."""
        return ()

    def release(self, spec: ClusterSpec) -> str:
        """``rehearsal of vllm-ascend 0.23.0``."""
        return f"rehearsal of {self.stands_for.release(spec)}"

    def vllm_version(self, spec: ClusterSpec) -> str:
        """That of the engine it stands for."""
        return self.stands_for.vllm_version(spec)

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """As the engine it stands for would say."""
        return self.stands_for.check(spec)

    def kv_width(self, spec: ClusterSpec, role: RoleSpec) -> int:
        """As the engine it stands for."""
        return self.stands_for.kv_width(spec, role)

    def binds_kv(self, spec: ClusterSpec, role: RoleSpec) -> bool:
        """As the engine it stands for."""
        return self.stands_for.binds_kv(spec, role)

    def files(self, site: Site) -> tuple[Sheet | File, ...]:
        """As the engine it stands for."""
        return self.stands_for.files(site)

    def argv(self, site: Site, seat: Seat) -> tuple[str, ...]:
        """As the engine it stands for."""
        return self.stands_for.argv(site, seat)

    def secrets(self, site: Site, seat: Seat) -> Mapping[str, SecretRef]:
        """As the engine it stands for."""
        return self.stands_for.secrets(site, seat)
