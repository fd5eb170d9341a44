"""The rehearsal engine: planned and started exactly as the engine it stands for, on any machine."""

from __future__ import annotations

from msgspec.structs import replace

from dplaunch.engines.ascend.adapter import Ascend
from dplaunch.model.cluster import ClusterSpec


class Rehearsal(Ascend):
    """vLLM-Ascend, whose file it must satisfy; nothing of the real engine's libraries runs."""

    facts = replace(
        Ascend.facts,
        kind="rehearsal",
        needs=frozenset(),
        families=(),
        default_version="0.23.0",
        reserved=(),
        packages={},
        help=None,
        titles=(),
        rehearsal=True,
    )

    def release(self, spec: ClusterSpec) -> str:
        """``rehearsal of vllm-ascend 0.23.0``."""
        return f"rehearsal of {super().release(spec)}"


ADAPTER = Rehearsal()
