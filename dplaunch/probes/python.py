"""``host.python``: runtime.python runs on every node, in the same version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes import router_python
from dplaunch.probes.findings import find_outliers
from dplaunch.probes.outputs import Outputs, describe_unread, find_output, read_failure, read_last_json
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.shell import wrap_command

NAME = "host.python"
SOURCE = 'import json, platform; print(json.dumps({"python": platform.python_version()}))'


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
    argv = wrap_command(target, (target.plan.runtime.python, "-c", SOURCE))
    yield Command(key="python", argv=argv, timeout=30.0)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "python")
    found = read_last_json(output.out)
    if output.code == 0 and isinstance(found.get("python"), str):
        return {"python": found["python"]}
    if output.code:
        return {"broken": read_failure(output)}
    return {"unread": [describe_unread("python", output)]}


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    versions = {node: facts["python"] for node, facts in seen.items() if "python" in facts}
    common, others = find_outliers(versions)
    for target in targets:
        facts = seen.get(target.name)
        if facts and not ("broken" in facts and router_python.runs_there(target)):
            yield _judge_node(target, facts, common if target.name in others else "")


def _judge_node(target: ProbeTarget, facts: Facts, usual: str) -> Finding:
    """``usual``: the version on most nodes, if this node has another one.

    Where the router runs, ``host.router`` reports a Python that does not run.
    """
    python, level, text = target.plan.runtime.python, Level.OK, ""
    remedy = "correct runtime.python, or let runtime.setup add it to PATH"
    if "broken" in facts:
        level, text = Level.FAIL, f"{python} does not run: {facts['broken']}"
    elif usual:
        level, text = Level.WARN, f"{python} is Python {facts['python']}, but {usual} on most nodes"
    else:
        text, remedy = f"{python} is Python {facts['python']}", ""
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


PROBE = Probe(name=NAME, inside=True, commands=_commands, parse=_parse, compare=_compare, steady=("python",))
