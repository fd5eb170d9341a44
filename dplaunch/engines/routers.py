"""Routers as data: our own, and those of other projects, after which they are called."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.model.cluster import RouterSpec
from dplaunch.model.plan import Flow, LogFile

OURS = "dplaunch"
NONE = "none"


class RouterKind(Struct, frozen=True, kw_only=True):
    """What the rest must know of a kind of router."""

    key_env: str
    """Environment variable that holds the key which clients must present."""
    health: str = "/health"
    models: str = "/v1/models"
    """Empty: it has none."""
    after_engines: bool = True
    """It looks at the engines once, when it starts."""
    flows: tuple[Flow, ...] = ("pull",)
    """How it can take a request through split roles."""
    keys: frozenset[str] = frozenset()
    """Keys of the cluster file's ``router`` that are for this kind alone."""
    script: str = ""
    """What ``path`` names, which it needs then."""
    hands_over: bool = False
    """Another one can take over from it while it runs."""
    registered: str = ""
    """As ``Api.registered``."""
    logs: tuple[LogFile, ...] = ()
    """Files that it writes itself."""
    splits: bool = False
    """It needs prefill and decode."""
    deployed: bool = False
    """It is part of what an engine's own program makes on Kubernetes."""
    health_port: int = 0
    """The port beside it on which its health is asked; 0: it is asked itself."""


KINDS = {
    # ready before its engines are: they are proved through it while it is closed to clients
    OURS: RouterKind(
        key_env="DPROUTER_API_KEY",
        health="/live",
        models="",
        after_engines=False,
        flows=("pull", "push"),
        keys=frozenset(("workers", "policy")),
        hands_over=True,
    ),
    # Engines register with it, again every five seconds. It answers before there are any.
    "fastdeploy": RouterKind(
        key_env="FD_API_KEY",
        health="/registered_number",
        models="",
        after_engines=False,
        flows=("alone",),
        registered="/registered_number",
        logs=(LogFile("router", "log/log_router/router.log"),),
    ),
    "vllm-router": RouterKind(key_env="VLLM_API_KEY"),
    # Its proxies have no /v1/models before main of 2026-08.
    "vllm-ascend": RouterKind(
        key_env="OPENAI_API_KEY",
        health="/healthcheck",
        models="",
        keys=frozenset(("path",)),
        script="vLLM-Ascend's own proxy script",
        splits=True,
    ),
    # A coordinator in a pod, behind a port that every machine of the cluster has. No path there says
    # whether it is ready: what follows its pod does.
    "mindie-motor": RouterKind(
        key_env="", models="", after_engines=False, flows=("alone",), deployed=True, health_port=8999
    ),
}


def router_kind(router: RouterSpec) -> RouterKind:
    """Its row of the table. vllm-ascend's layer-wise proxies are known by their file names."""
    kind = KINDS[router.kind]
    if router.kind == "vllm-ascend" and "layerwise" in (router.path or ""):
        return replace(kind, flows=("push",))
    return kind
