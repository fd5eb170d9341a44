"""One folder per engine: pure adapters from (spec, seat) to what will run."""

from __future__ import annotations

from functools import cache

from dplaunch.engines.adapter import EngineAdapter, ReservedPorts, Sheet, Site


@cache
def adapter(kind: str) -> EngineAdapter:
    """The adapter of an engine kind of the cluster file; ValueError for a kind the schema does not have.

    Only that engine's module is loaded.
    """
    match kind:
        case "vllm-ascend":
            from dplaunch.engines.ascend.adapter import Ascend  # noqa: PLC0415 - as the docstring says

            return Ascend()
        case "vllm":
            from dplaunch.engines.vllm.adapter import Vllm  # noqa: PLC0415

            return Vllm()
        case "script":
            from dplaunch.engines.script.adapter import Script  # noqa: PLC0415

            return Script()
        case "rehearsal":
            from dplaunch.engines.rehearsal import Rehearsal  # noqa: PLC0415

            return Rehearsal(adapter("vllm-ascend"))
    raise ValueError(kind)


__all__ = ["EngineAdapter", "ReservedPorts", "Sheet", "Site", "adapter"]
