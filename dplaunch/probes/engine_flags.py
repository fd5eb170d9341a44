"""``engine.flags``: the engine's own help lists every flag that its scripts will pass.

The help may be longer than the output of a command may be, so only its lines that define options are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.model.plan import Process
from dplaunch.probes.findings import list_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output, read_failure
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.shell import wrap_script

NAME = "engine.flags"
END = "== end of help =="
"""Printed last: without it the output was cut off, and flags may be missing."""
TIMEOUT = 90.0
"""Seconds: the engine imports torch and looks for devices before it prints its help."""

_OPTION = re.compile(r" {1,8}(-.*)")
_COLUMNS = re.compile(r" {2,}")
_FLAG = re.compile(r"(?:^|[\s,\[])(--[A-Za-z][\w-]*)")


def parse_help(text: str) -> frozenset[str]:
    """Return the flags that a help text defines, without those that only a description mentions."""
    lines = (_OPTION.match(line) for line in clean(text).splitlines())
    names = (_COLUMNS.split(match[1], maxsplit=1)[0] for match in lines if match)
    return frozenset(_normalise(flag) for name in names for flag in _FLAG.findall(name))


def list_flags(processes: Iterable[Process]) -> tuple[str, ...]:
    """Return the flags of these processes, each once, in order."""
    return tuple(dict.fromkeys(_normalise(flag) for process in processes for flag in process.flags))


def _normalise(flag: str) -> str:
    return "--" + flag[2:].replace("_", "-")


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
    if target.has_engines and (help_ := target.engine.help):
        yield Command(key="help", argv=wrap_script(target, f"\n{help_.ask}\necho '{END}'\n"), timeout=TIMEOUT)


def _parse(target: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "help")
    found = parse_help(output.out)
    help_ = target.engine.help
    if help_ and help_.sure in found and END in output.out:
        wanted = list_flags(target.plan.processes)
        return {"passed": len(wanted), "unknown": [flag for flag in wanted if flag not in found]}
    if output.code and output.err.strip():
        return {"broken": read_failure(output)}
    return {"unread": [describe_unread(f"{help_.program} --help" if help_ else "help", output)]}


def _compare(targets: Iterable[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    program = next((help_.program for target in targets if (help_ := target.engine.help)), "")
    for node, facts in seen.items():
        yield _judge_node(program, node, facts)


def _judge_node(program: str, node: str, facts: Facts) -> Finding:
    name = program.partition(" ")[0]
    level, remedy = Level.FAIL, f"correct runtime.setup: {name} must be in PATH and find its libraries"
    if "broken" in facts:
        text = f"{program} cannot print its help: {facts['broken']}"
    elif facts["unknown"]:
        text = f"{name} here does not know {list_some(facts['unknown'])}"
        remedy = "remove the flags from args, or correct engine.version: versions differ in their flags"
    else:
        level, text, remedy = Level.OK, f"{name} knows all {facts['passed']} flags", ""
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, inside=True, commands=_commands, parse=_parse, compare=_compare)
