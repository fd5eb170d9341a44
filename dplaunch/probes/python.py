"""``host.python``: runtime.python runs on every node, and has what the router needs on the router's node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.findings import find_outliers
from dplaunch.probes.outputs import Outputs, describe_unread, find_output, read_failure, read_last_json
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.shell import wrap_command

NAME = "host.python"
SOURCE = (
    "import importlib.util, json, platform; "
    'print(json.dumps({"python": platform.python_version(), '
    '"aiohttp": importlib.util.find_spec("aiohttp") is not None}))'
)


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
    argv = wrap_command(target, (target.plan.runtime.python, "-c", SOURCE))
    yield Command(key="python", argv=argv, timeout=30.0)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "python")
    found = read_last_json(output.out)
    if output.code == 0 and isinstance(found.get("python"), str):
        return {"python": found["python"], "aiohttp": found.get("aiohttp") is True}
    if output.code:
        return {"broken": read_failure(output)}
    return {"unread": [describe_unread("python", output)]}


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    versions = {node: facts["python"] for node, facts in seen.items() if "python" in facts}
    common, others = find_outliers(versions)
    for target in targets:
        if target.name in seen:
            yield _judge_node(target, seen[target.name], common if target.name in others else "")


def _judge_node(target: ProbeTarget, facts: Facts, usual: str) -> Finding:
    """``usual``: the version on most nodes, if this node has another one."""
    python, level, text = target.plan.runtime.python, Level.OK, ""
    remedy = "correct runtime.python, or let runtime.setup add it to PATH"
    if "broken" in facts:
        level, text = Level.FAIL, f"{python} does not run: {facts['broken']}"
    elif not facts["aiohttp"] and _has_our_router(target):
        level, text = Level.FAIL, f"{python} does not have aiohttp, which the router needs"
        remedy = f"{python} -m pip install aiohttp"
    elif usual:
        level, text = Level.WARN, f"{python} is Python {facts['python']}, but {usual} on most nodes"
    else:
        text, remedy = f"{python} is Python {facts['python']}", ""
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


def _has_our_router(target: ProbeTarget) -> bool:
    router = target.spec.router
    if router is None or router.kind != "dplaunch":
        return False
    return any(process.name == "router" for process in target.plan.processes)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, steady=("python",))
