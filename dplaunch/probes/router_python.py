"""``host.router``: where our router will run, ``runtime.python`` runs and has the package that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dplaunch.engines.routers import OURS
from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.model.plan import ROUTER
from dplaunch.probes.outputs import Outputs, describe_unread, find_output, read_failure, read_last_json
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.shell import wrap_command

NAME = "host.router"
PACKAGE = "aiohttp"
SOURCE = (
    "import importlib.util, json; "
    f'print(json.dumps({{"found": importlib.util.find_spec("{PACKAGE}") is not None}}))'
)


def runs_there(target: ProbeTarget) -> bool:
    """Return whether our own router will run on the node."""
    router = target.spec.router
    ours = router is not None and router.kind == OURS
    return ours and any(process.role == ROUTER for process in target.plan.processes)


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterator[Command]:
    if runs_there(target):
        argv = wrap_command(target, (target.plan.runtime.python, "-c", SOURCE))
        yield Command(key="package", argv=argv, timeout=30.0)


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "package")
    found = read_last_json(output.out).get("found")
    if output.code == 0 and isinstance(found, bool):
        return {"found": found}
    return (
        {"broken": read_failure(output)} if output.code else {"unread": [describe_unread("python", output)]}
    )


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    for target in targets:
        if target.name in seen:
            yield _judge_node(target, seen[target.name])


def _judge_node(target: ProbeTarget, facts: Facts) -> Finding:
    python = target.plan.runtime.python
    level, text, remedy = Level.OK, f"{python} has {PACKAGE}, which the router needs", ""
    if "broken" in facts:
        level, text = Level.FAIL, f"{python} does not run: {facts['broken']}"
        remedy = "correct runtime.python, or let runtime.setup add it to PATH"
    elif not facts["found"]:
        level, text = Level.FAIL, f"{python} does not have {PACKAGE}, which the router needs"
        remedy = f"{python} -m pip install {PACKAGE}"
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


PROBE = Probe(name=NAME, inside=True, commands=_commands, parse=_parse, compare=_compare, quick=True)
