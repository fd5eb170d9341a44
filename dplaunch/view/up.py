"""What ``up`` and ``restart`` print at their end: the endpoint, a request to paste, the next commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.plan import Plan
from dplaunch.model.progress import Progress
from dplaunch.ranges import fold
from dplaunch.view import style
from dplaunch.words import plural


def render_done(plan: Plan, took: float, *, changed: bool = True, only: str | None = None) -> RenderableType:
    """``up`` has succeeded: the endpoint, a request to paste, the next commands. ``only``: the one role."""
    if plan.is_job:
        return _render_job(plan, took, changed=changed)
    engines = sum(only in (None, endpoint.role) for endpoint in plan.endpoints)
    proved = f"{plural(engines, 'engine')} ready and proved" if engines else "ready and proved"
    summary = f"{proved} in {durations.describe(took)}" if changed else f"nothing to do, {proved}"
    if only is not None:
        return Text.assemble((f"{only} of {plan.title} is up", style.GOOD), f": {summary}")
    return Group(
        Text.assemble((f"{plan.title} is up", style.GOOD), f": {summary}"),
        Text.assemble("endpoint  ", (plan.url, style.NAME), f"  model {plan.served_model_name}"),
        Text(""),
        *_forwarding(plan),
        *_unwrapped(curl(replace(plan, url=_forwarded(plan) or plan.url))),
        Text(""),
        *_commands(plan, "dplaunch status"),
    )


def _render_job(plan: Plan, took: float, *, changed: bool) -> RenderableType:
    """Every process of a job has ended with code 0, now or before."""
    count = plural(len(plan.jobs), "process")
    summary = f"{count} ended with code 0"
    summary = f"{summary} in {durations.describe(took)}" if changed else f"nothing to do, {summary} before"
    beside = [process.name for process in plan.processes if process.kind != "job"]
    down = "remove its state from the nodes"
    down = f"stop {', '.join(beside)}, and {down}" if beside else down
    commands = {
        f"dplaunch logs {plan.jobs[0].name}": "show what it wrote",
        "dplaunch up --force": "run it again",
        "dplaunch down": down,
    }
    done = Text.assemble((f"{plan.title} is done", style.GOOD), f": {summary}")
    return Group(done, Text(""), *_aligned(commands))


def render_detached(plan: Plan, started: int, took: float) -> RenderableType:
    """``up --detach`` has started ``started`` processes; our router proves and opens their groups."""
    summary = (
        f"{plural(started, 'process')} started in {durations.describe(took)}" if started else "nothing to do"
    )
    later = (
        "the router proves each group and opens it" if plan.router_process else "it loads and is not proved"
    )
    later = "it runs to its end" if plan.is_job else later
    where = Text.assemble("endpoint  ", (plan.url, style.NAME), "  (503 until every role serves)")
    return Group(
        Text(f"{plan.title}: {summary}; {later}"),
        *(() if plan.is_job else (where,)),
        Text(""),
        *_commands(plan, "dplaunch status --wait ready"),
    )


def render_restarted(plan: Plan, names: Sequence[str], took: float) -> Text:
    """``restart`` has succeeded."""
    count = f"{plan.title}: {plural(len(names), 'process')}"
    summary = f": {fold(names)}; ready, proved and back in service in {durations.describe(took)}"
    return Text.assemble((f"{count} restarted", style.GOOD), summary)


def _forwarding(plan: Plan) -> list[Text]:
    """How the endpoint of pods is reached from elsewhere."""
    url = _forwarded(plan)
    if plan.kubernetes is None or not url:
        return []
    kubectl, host, port = plan.kubernetes.kubectl, plan.kubernetes.host, urlsplit(url).port
    where = "here" if host == "localhost" else f"on {host}"
    words = (*kubectl.words, "port-forward", f"service/{plan.cluster}-router", f"{port}:{port}")
    why = Text(f"Only pods know that name. While this runs {where}, 127.0.0.1:{port} is the same:")
    return [why, *_unwrapped(shlex.join(words)), Text("")]


def _forwarded(plan: Plan) -> str:
    """The endpoint as ``kubectl port-forward`` gives it; empty where it is no name of a router's pod."""
    found = urlsplit(plan.url)
    is_name = (found.hostname or "").endswith(".svc")
    is_ours = plan.kubernetes is not None and plan.router is not None
    return f"{found.scheme}://127.0.0.1:{found.port}" if is_name and is_ours else ""


def curl(plan: Plan) -> str:
    """A streaming chat request, ready to paste; an API key is named, never printed."""
    body = {
        "model": plan.served_model_name,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    return " \\\n".join(
        (
            f"curl -N {shlex.quote(plan.url + '/v1/chat/completions')}",
            *_authorization(plan),
            "  -H 'Content-Type: application/json'",
            f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}",
        )
    )


def to_json(plan: Plan, progress: Progress, *, ready: bool, changed: bool) -> dict[str, Any]:
    """``{cluster, revision, endpoint, model, ready, changed, seconds, phases, processes}``."""
    return {
        "cluster": plan.cluster,
        "revision": plan.revision,
        "endpoint": plan.url,
        "model": plan.served_model_name,
        "ready": ready,
        "changed": changed,
        "seconds": round(progress.elapsed, 3),
        "phases": [{"phase": phase.name, "seconds": phase.seconds} for phase in progress.phases],
        "processes": {name: unit.step.value for name, unit in progress.units.items()},
    }


def _authorization(plan: Plan) -> list[str]:
    if plan.api_key is None:
        return []
    name = plan.api_key.name
    value = f"${{{name}}}" if plan.api_key.source == "env" else f"$(cat {shlex.quote(name)})"
    return [f'  -H "Authorization: Bearer {value}"']


def _commands(plan: Plan, first: str) -> list[Text]:
    engine = next((endpoint.name for endpoint in reversed(plan.endpoints)), "all")
    commands = {
        first: "show its state",
        f"dplaunch logs -f {engine}": "follow its log",
        "dplaunch down": "stop everything",
    }
    return _aligned(commands)


def _aligned(commands: Mapping[str, str]) -> list[Text]:
    width = max(map(len, commands))
    return [
        Text.assemble((f"{command:<{width}}", style.NAME), f"  {why}") for command, why in commands.items()
    ]


def _unwrapped(text: str) -> list[Text]:
    """Lines to paste, never wrapped by us."""
    return [Text(line, no_wrap=True, overflow="ignore") for line in text.splitlines()]
