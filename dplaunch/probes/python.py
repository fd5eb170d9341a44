"""``host.python``: runtime.python runs on every node, and holds what the router needs on the router's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import shell_words
from dplaunch.probes.words import answer, last_json, last_words, odd_ones, unread, unread_finding

NAME = "host.python"
SOURCE = (
    "import importlib.util, json, platform; "
    'print(json.dumps({"python": platform.python_version(), '
    '"aiohttp": importlib.util.find_spec("aiohttp") is not None}))'
)


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del seen
    argv = shell_words(target, (target.plan.runtime.python, "-c", SOURCE))
    yield Command(key="python", argv=argv, timeout=30.0)


def _parse(target: Target, outputs: Outputs) -> Facts:
    del target
    output = answer(outputs, "python")
    found = last_json(output.out)
    if output.code == 0 and isinstance(found.get("python"), str):
        return {"python": found["python"], "aiohttp": found.get("aiohttp") is True}
    if output.code:
        return {"broken": last_words(output)}
    return {"unread": [unread("python", output)]}


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    versions = {node: facts["python"] for node, facts in seen.items() if "python" in facts}
    common, odd = odd_ones(versions)
    for target in targets:
        facts = seen.get(target.name)
        if facts is None:
            continue
        yield from unread_finding(NAME, target.name, facts)
        if not facts.get("unread"):
            yield _judged(target, facts, common if target.name in odd else "")


def _judged(target: Target, facts: Facts, others: str) -> Finding:
    """``others``: the version of most other nodes, where this node's differs from it."""
    python, level, text = target.plan.runtime.python, Level.OK, ""
    remedy = "correct runtime.python, or runtime.setup that should bring it into PATH"
    if "broken" in facts:
        level, text = Level.FAIL, f"{python} does not run: {facts['broken']}"
    elif not facts["aiohttp"] and _has_our_router(target):
        level, text = Level.FAIL, f"the router cannot start: {python} has no aiohttp"
        remedy = f"{python} -m pip install aiohttp"
    elif others:
        level, text = Level.WARN, f"{python} is Python {facts['python']}, on the other nodes {others}"
    else:
        text, remedy = f"{python} is Python {facts['python']}", ""
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


def _has_our_router(target: Target) -> bool:
    router = target.spec.router
    if router is None or router.kind != "dplaunch":
        return False
    return any(process.name == "router" for process in target.plan.processes)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, steady=("python",))
