"""The router as files and a process: ours, vllm-router, or vLLM-Ascend's example proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from dplaunch.engines import adapter
from dplaunch.engines.flags import words
from dplaunch.engines.layout import url
from dplaunch.engines.routers import OURS, router_kind
from dplaunch.engines.versions import at_least
from dplaunch.model.cluster import DECODE, PREFILL, SERVE, ArgValue, ClusterSpec, NodeSpec, RouterSpec
from dplaunch.model.plan import ROUTER, Api, Endpoint, File, Flow, Plan, Process
from dplaunch.render import render

SCRIPT = "router/run_router.sh"
MEMBERS = "router/members.json"
KEYS = "router/keys.json"
"""Beside the script on the router's node: digests of clients' keys, written by ``up`` at any time."""
PACKAGE = "router/dprouter"

Lines = tuple[tuple[str, ...], ...]
"""Words of a command line, grouped as they are printed."""


def flow(spec: ClusterSpec, router: RouterSpec | None) -> Flow:
    """How a request goes through the engines: as their KV wants it, or else as the router does it."""
    if not spec.disaggregated:
        return "alone"
    usual = router_kind(router).flows[0] if router else "pull"
    return adapter(spec.engine.kind).flow(spec) or usual


def members_file(plan: Plan) -> File:
    """Return the file from which our router learns its endpoints, all of them serving."""
    document = {
        "format": 2,
        "revision": plan.revision,
        "model": plan.served_model_name,
        "flow": plan.flow,
        "members": [_member(endpoint, plan.flow) for endpoint in plan.endpoints],
    }
    return File(MEMBERS, json.dumps(document, indent=1) + "\n")


def _member(endpoint: Endpoint, flow: Flow) -> dict[str, Any]:
    """Each one serves alone where the engines themselves bring prefill and decode together."""
    api = endpoint.api
    return {
        "name": endpoint.name,
        "role": SERVE if flow == "alone" else endpoint.role,
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


class RouterSite(Struct, frozen=True, kw_only=True):
    """A router on its node. ``sources``: our router's own files, name → text."""

    spec: ClusterSpec
    router: RouterSpec
    node: NodeSpec
    endpoints: Sequence[Endpoint]
    engines: Sequence[str]
    """Names of the engine processes."""
    sources: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Not a foreign one."""
        return self.router.kind == OURS


def router_files(site: RouterSite) -> tuple[File, ...]:
    """The router's script, and our own router's package; the members file is made last."""
    kind = router_kind(site.router)
    command, lines = _command(site)
    context = {
        "title": f"{site.spec.name}: router on {site.node.name} ({site.node.address})",
        "setup": site.spec.runtime.setup,
        "own": site.ours,
        "knobs": () if site.ours else tuple(_knobs(site.node)),
        "keys": bool(site.ours and site.spec.api_keys),
        "command": command,
        "lines": lines,
        "secrets": (kind.key_env,) if site.spec.api_key else (),
    }
    package = sorted(site.sources.items()) if site.ours else ()
    return (
        File(SCRIPT, render("router/run_router.sh.j2", context), 0o755),
        *(File(f"{PACKAGE}/{name}", text) for name, text in package),
    )


def _knobs(node: NodeSpec) -> Iterator[tuple[str, str]]:
    """What a stand-in of the router is given on this node; nothing outside of a rehearsal."""
    for name, value in node.env.items():
        if name.startswith("DPLAUNCH_REHEARSAL_") and isinstance(value, str):
            yield name, value


def router_process(site: RouterSite, files: Sequence[File]) -> Process:
    """The router's process on its node."""
    kind = router_kind(site.router)
    return Process(
        name="router",
        kind="service",
        role=ROUTER,
        group=ROUTER,
        node=site.node.name,
        argv=("bash", SCRIPT),
        env={kind.key_env: site.spec.api_key} if site.spec.api_key else {},
        files=tuple(f.path for f in files),
        ports=(kind.health_port or site.router.port,),
        endpoints=(
            Endpoint(
                name="router",
                role=ROUTER,
                group=ROUTER,
                node=site.node.name,
                url=url(site.node.address, site.router.port),
                api=Api(health=kind.health, models=kind.models, registered=kind.registered),
                model=site.spec.served_model_name if kind.models else "",
                health_url=url(site.node.address, kind.health_port) if kind.health_port else "",
            ),
        ),
        after=tuple(site.engines) if kind.after_engines else (),
        logs=kind.logs,
        restarts=True,
        hands_over=kind.hands_over,
    )


def _command(site: RouterSite) -> tuple[tuple[str, ...], Lines]:
    """The program, and its flags line by line; those of ``router.args`` win.

    It listens on its node's address, where everybody looks for it: vllm-ascend's layer-wise proxy refuses
    0.0.0.0, because its engines call it back at the address that it is given.
    """
    router, python = site.router, site.spec.runtime.python
    deployed = adapter(site.spec.engine.kind).router_command(
        site.spec, site.node, router_kind(router).health_port
    )
    if deployed is not None:
        return deployed
    own: Mapping[str, ArgValue] = {}
    engines: Lines = ()
    if router.kind == "vllm-router":
        command: tuple[str, ...] = ("vllm-router",)
        # By default it asks its engines every 60 s: a dead one would draw requests for as long.
        own, engines = {"health-check-interval-secs": 1}, _vllm_router_engines(site)
    elif router.kind == "fastdeploy":
        return _fastdeploy(site)
    elif router.kind == "vllm-ascend":
        command, engines = (python, router.path or ""), _vllm_ascend_engines(site)
    else:
        command = (python, "-m", "dprouter")
        own = {
            "workers": router.workers,
            "policy": router.policy,
            "model": site.spec.served_model_name,
            "log-level": "info",
        }
    flags = {"host": site.node.address, "port": router.port, **own, **router.args}
    return command, (*(line for key, value in flags.items() if (line := words(key, value))), *engines)


def _fastdeploy(site: RouterSite) -> tuple[tuple[str, ...], Lines]:
    """The one in Go where the release has it, which listens on all addresses. Engines register with it."""
    version, python = site.spec.engine.version, site.spec.runtime.python
    in_go = at_least(version, "2.5")
    command: tuple[str, ...] = (python, "-m", "fastdeploy.router.launch")
    if at_least(version, "2.7"):  # PaddlePaddle/FastDeploy#7668 puts the binary into the wheel
        command = (python, "-m", "fastdeploy.golang_router.launch")
    elif in_go:  # only FastDeploy's images have it, in /usr/local/bin
        command = ("fd-router",)
    flags: Mapping[str, ArgValue] = {
        **({} if in_go else {"host": site.node.address}),
        "port": site.router.port,
        "splitwise": site.spec.disaggregated,
        **site.router.args,
    }
    return command, tuple(line for key, value in flags.items() if (line := words(key, value)))


def _vllm_router_engines(site: RouterSite) -> Lines:
    if not site.spec.disaggregated:
        return (("--worker-urls", *(e.url for e in site.endpoints)),)
    sides = {PREFILL: "--prefill", DECODE: "--decode"}
    engines = ((sides[e.role], e.url) for e in site.endpoints)
    return (("--vllm-pd-disaggregation",), ("--kv-connector", "nixl"), *engines)


def _vllm_ascend_engines(site: RouterSite) -> Lines:
    """One host per port: the only form that every version of the script takes."""
    lines: list[tuple[str, ...]] = []
    for role, word in ((PREFILL, "prefiller"), (DECODE, "decoder")):
        places = [urlsplit(e.url) for e in site.endpoints if e.role == role]
        lines.append((f"--{word}-hosts", *(str(place.hostname) for place in places)))
        lines.append((f"--{word}-ports", *(str(place.port) for place in places)))
    return tuple(lines)
