"""One file per engine: pure adapters from (spec, seat) to what will run."""

from __future__ import annotations

from dplaunch.engines.adapter import EngineAdapter, ReservedPorts, Sheet, Site
from dplaunch.engines.ascend import Ascend
from dplaunch.engines.rehearsal import Rehearsal
from dplaunch.engines.script import Script
from dplaunch.engines.vllm import Vllm

_ADAPTERS: dict[str, EngineAdapter] = {
    "vllm-ascend": Ascend(),
    "vllm": Vllm(),
    "script": Script(),
    "rehearsal": Rehearsal(Ascend()),
}


def adapter(kind: str) -> EngineAdapter:
    """The adapter of an engine kind of the cluster file; KeyError for a kind the schema does not have."""
    return _ADAPTERS[kind]


__all__ = ["EngineAdapter", "ReservedPorts", "Sheet", "Site", "adapter"]
