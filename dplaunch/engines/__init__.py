"""One folder per engine: its facts, and a pure adapter from (spec, seats) to what will run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import cast

from dplaunch.engines.adapter import EngineAdapter, PortNeed, Site, StandIn, Template
from dplaunch.engines.facts import EngineFacts

Loader = Callable[[], EngineAdapter]

_LOADERS: dict[str, Loader] = {}


def register(kind: str, loader: Loader) -> None:
    """Make an engine known under a kind of the cluster file; ``loader`` is called when it is first needed."""
    _LOADERS[kind] = loader
    adapter.cache_clear()


def unregister(kind: str) -> None:
    """Forget a kind again."""
    del _LOADERS[kind]
    adapter.cache_clear()


def kinds() -> tuple[str, ...]:
    """Every kind that a cluster file may name."""
    return tuple(_LOADERS)


@cache
def adapter(kind: str) -> EngineAdapter:
    """The adapter of an engine kind; KeyError for one that no engine has. Only its own modules are loaded."""
    return _LOADERS[kind]()


def facts(kind: str) -> EngineFacts:
    """What others may know of an engine kind."""
    return adapter(kind).facts


def titles() -> tuple[str, ...]:
    """How command lines of any known engine begin."""
    return tuple(title for kind in kinds() for title in facts(kind).titles)


def _from(module: str) -> Loader:
    """The ADAPTER of a module of this room."""
    return lambda: cast("EngineAdapter", import_module(f"{__name__}.{module}").ADAPTER)


register("vllm-ascend", _from("ascend.adapter"))
register("vllm", _from("vllm.adapter"))
register("fastdeploy", _from("fastdeploy.adapter"))
register("fastdeploy-offline", _from("fastdeploy.offline"))
register("script", _from("script.adapter"))
register("mindie-atb", _from("mindie.atb"))
register("mindie", _from("mindie.service"))
register("mindie-motor", _from("mindie.motor"))
register("rehearsal", _from("rehearsal"))

__all__ = [
    "EngineAdapter",
    "EngineFacts",
    "PortNeed",
    "Site",
    "StandIn",
    "Template",
    "adapter",
    "facts",
    "kinds",
    "register",
    "titles",
    "unregister",
]
