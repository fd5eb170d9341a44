"""What every engine adapter offers ``plan``: pure functions from (spec, seat) to what will run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dplaunch.engines.facts import Dense, EngineFacts, Software
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, NodeSpec, RoleSpec, SecretRef
from dplaunch.model.plan import File, Seat, StopStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One role on one node: what one script is written for."""

    spec: ClusterSpec
    facts: EngineFacts
    role: RoleSpec
    node: NodeSpec
    seats: tuple[Seat, ...]
    """This role's engines on this node, in order."""

    @property
    def script_path(self) -> str:
        """``prefill/run_dp_template.sh``, relative to the node's folder."""
        return f"{self.role.name}/{self.facts.script}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file still to be rendered: template and finished values."""

    path: str
    template: str
    context: Mapping[str, object] = field(default_factory=dict)
    mode: int = 0o755


class EngineAdapter(Protocol):
    """One engine. Adapters hold no state and never touch a host."""

    @property
    def facts(self) -> EngineFacts:
        """What others may know of it."""

    def stop(self, spec: ClusterSpec, role: RoleSpec) -> tuple[StopStep, ...]:
        """How to end an engine of this role."""

    def release(self, spec: ClusterSpec) -> str:
        """``vllm-ascend 0.23.0``."""

    def vllm_version(self, spec: ClusterSpec) -> str:
        """The vLLM below it, ``0.23.0``; empty when not known."""

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What this engine in this version refuses or would do wrong; warnings among it."""

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """What should be installed on the nodes; nothing where that is not ours to know."""
        del spec
        return ()

    def dense(self, spec: ClusterSpec) -> Dense | None:
        """What becomes of a model without experts whose data parallelism is above 1; None: not known."""
        del spec
        return None

    def kv_width(self, spec: ClusterSpec, role: RoleSpec) -> int:
        """KV-transfer ports that one rank takes, counted from the group's base; 0 for none."""

    def binds_kv(self, spec: ClusterSpec, role: RoleSpec) -> bool:
        """Whether this role listens on its KV ports (the other side connects)."""

    def files(self, site: Site) -> tuple[Sheet | File, ...]:
        """What the role needs on the node."""

    def argv(self, site: Site, seat: Seat) -> tuple[str, ...]:
        """The command of one engine; paths relative to the node's folder."""

    def secrets(self, site: Site, seat: Seat) -> Mapping[str, SecretRef]:
        """Environment that cannot stand in a script."""
