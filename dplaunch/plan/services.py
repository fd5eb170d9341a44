"""The router as files and a process: ours, vllm-router, or vLLM-Ascend's example proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dplaunch.engines.flags import words
from dplaunch.engines.layout import url
from dplaunch.model.cluster import DECODE, PREFILL, ArgValue, ClusterSpec, NodeSpec, RouterSpec
from dplaunch.model.plan import ROUTER, Api, Endpoint, File, Plan, Process
from dplaunch.render import render

SCRIPT = "router/run_router.sh"
MEMBERS = "router/members.json"
PACKAGE = "router/dprouter"

KEY_ENV = "VLLM_API_KEY"
"""Where our router and vllm-router look for the key that clients must present."""

Lines = tuple[tuple[str, ...], ...]
"""Words of a command line, grouped as they are printed."""


@dataclass(frozen=True, slots=True)
class RouterKind:
    """What differs between the routers: where the key goes, what to ask them."""

    key: str = KEY_ENV
    health: str = "/health"
    models: str = "/v1/models"
    """Empty: do not ask."""


KINDS = {
    "dplaunch": RouterKind(),
    "vllm-router": RouterKind(),
    # before main of 2026-08 it has no /v1/models (facts §3.2)
    "vllm-ascend": RouterKind("OPENAI_API_KEY", "/healthcheck", ""),
}


def members_file(plan: Plan) -> File:
    """What tells our router which endpoints exist. All are held: what proves them opens them."""
    document = {
        "format": 2,
        "revision": plan.revision,
        "model": plan.served_model_name,
        "flow": plan.flow,
        "members": [_member(endpoint) for endpoint in plan.endpoints],
    }
    return File(MEMBERS, json.dumps(document, indent=1) + "\n")


def _member(endpoint: Endpoint) -> dict[str, Any]:
    api = endpoint.api
    return {
        "name": endpoint.name,
        "role": endpoint.role,
        "group": endpoint.group,
        "url": endpoint.url,
        "state": "serving",
        "api": {
            "health": api.health,
            "metrics": api.metrics,
            "running": api.running,
            "waiting": api.waiting,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSite:
    """A router on its node. ``bind``: the address it listens on; ``sources``: our router's own files."""

    spec: ClusterSpec
    router: RouterSpec
    node: NodeSpec
    bind: str
    endpoints: Sequence[Endpoint]
    sources: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Not a foreign one."""
        return self.router.kind == "dplaunch"


def router_files(site: RouterSite) -> tuple[File, ...]:
    """The router's script, and our own router's package; the members file is made last."""
    kind = KINDS[site.router.kind]
    command, lines = _command(site)
    context = {
        "title": f"{site.spec.name}: router on {site.node.name} ({site.node.address})",
        "setup": site.spec.runtime.setup,
        "own": site.ours,
        "command": command,
        "lines": lines,
        "secrets": (kind.key,) if site.spec.api_key else (),
    }
    package = sorted(site.sources.items()) if site.ours else ()
    return (
        File(SCRIPT, render("router/run_router.sh.j2", context), 0o755),
        *(File(f"{PACKAGE}/{name}", text) for name, text in package),
    )


def router_process(site: RouterSite, files: Sequence[File]) -> Process:
    """The router's process on its node."""
    kind = KINDS[site.router.kind]
    return Process(
        name="router",
        kind="service",
        role=ROUTER,
        group=ROUTER,
        node=site.node.name,
        argv=("bash", SCRIPT),
        env={kind.key: site.spec.api_key} if site.spec.api_key else {},
        files=tuple(f.path for f in files),
        ports=(site.router.port,),
        endpoints=(
            Endpoint(
                name="router",
                role=ROUTER,
                group=ROUTER,
                node=site.node.name,
                url=url(site.node.address, site.router.port),
                api=Api(health=kind.health, models=kind.models),
                model=site.spec.served_model_name if kind.models else "",
            ),
        ),
        after=() if site.ours else tuple(endpoint.name for endpoint in site.endpoints),
        restarts=True,
    )


def _command(site: RouterSite) -> tuple[tuple[str, ...], Lines]:
    router, python = site.router, site.spec.runtime.python
    addressed = (("--host", site.bind), ("--port", str(router.port)))
    if router.kind == "vllm-router":
        return ("vllm-router",), (*addressed, *_vllm_router(site))
    if router.kind == "vllm-ascend":
        return (python, router.path or ""), (*addressed, *_vllm_ascend(site))
    return (python, "-m", "dprouter"), (*addressed, *_ours(site))


def _ours(site: RouterSite) -> Lines:
    return (
        ("--workers", str(site.router.workers)),
        ("--policy", site.router.policy),
        ("--model", site.spec.served_model_name),
        *_flags({"log-level": "info", **site.router.args}),
    )


def _vllm_router(site: RouterSite) -> Lines:
    # asks its engines every 60 s unless told otherwise: a dead one would draw requests for as long
    own = _flags({"health-check-interval-secs": 1, **site.router.args})
    if not site.spec.disaggregated:
        return (*own, ("--worker-urls", *(e.url for e in site.endpoints)))
    sides = {PREFILL: "--prefill", DECODE: "--decode"}
    engines = ((sides[e.role], e.url) for e in site.endpoints)
    return (*own, ("--vllm-pd-disaggregation",), ("--kv-connector", "nixl"), *engines)


def _vllm_ascend(site: RouterSite) -> Lines:
    """One host per port: the only form that every version of the script takes (facts §3.1)."""
    lines: list[tuple[str, ...]] = []
    for role, word in ((PREFILL, "prefiller"), (DECODE, "decoder")):
        places = [urlsplit(e.url) for e in site.endpoints if e.role == role]
        lines.append((f"--{word}-hosts", *(str(place.hostname) for place in places)))
        lines.append((f"--{word}-ports", *(str(place.port) for place in places)))
    return (*lines, *_flags(site.router.args))


def _flags(args: Mapping[str, ArgValue]) -> Lines:
    return tuple(line for key, value in args.items() if (line := words(key, value)))
