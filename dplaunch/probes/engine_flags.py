"""``engine.flags``: the engine's own help knows every flag that its scripts will pass.

The help may be longer than what a command may print: only lines that define options come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.model.plan import Process
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import engine, has_engines, shell
from dplaunch.probes.words import answer, clean, last_words, shown_list, unread, unread_finding

NAME = "engine.flags"
END = "== end of help =="
"""Printed last: without it the answer was cut off, and says nothing of flags that come later."""
TIMEOUT = 90.0
"""Seconds: the engine imports torch and looks for devices before it prints."""

_OPTION = re.compile(r" {1,8}(-.*)")
_COLUMNS = re.compile(r" {2,}")
_FLAG = re.compile(r"(?:^|[\s,\[])(--[A-Za-z][\w-]*)")


def known(text: str) -> frozenset[str]:
    """Flags that a help text defines: not those that descriptions mention."""
    lines = (_OPTION.match(line) for line in clean(text).splitlines())
    names = (_COLUMNS.split(match[1], maxsplit=1)[0] for match in lines if match)
    return frozenset(_spelt(flag) for name in names for flag in _FLAG.findall(name))


def passed(processes: Iterable[Process]) -> tuple[str, ...]:
    """Flags that the engines among the processes are given, each once, in order."""
    return tuple(dict.fromkeys(_spelt(flag) for process in processes for flag in process.flags))


def _spelt(flag: str) -> str:
    return "--" + flag[2:].replace("_", "-")


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del seen
    if has_engines(target) and (help_ := engine(target).help):
        yield Command(key="help", argv=shell(target, f"\n{help_.ask}\necho '{END}'\n"), timeout=TIMEOUT)


def _parse(target: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, "help")
    found = known(output.out)
    help_ = engine(target).help
    if help_ and help_.sure in found and END in output.out:
        wanted = passed(target.plan.processes)
        return {"passed": len(wanted), "unknown": [flag for flag in wanted if flag not in found]}
    if output.code and output.err.strip():
        return {"broken": last_words(output)}
    return {"unread": [unread(f"{help_.program} --help" if help_ else "help", output)]}


def _judge(targets: Iterable[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    program = next((help_.program for target in targets if (help_ := engine(target).help)), "")
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if not facts.get("unread"):
            yield _judged(program, node, facts)


def _judged(program: str, node: str, facts: Facts) -> Finding:
    name = program.partition(" ")[0]
    level, remedy = Level.FAIL, f"see runtime.setup: {name} has to be in PATH and its libraries found"
    if "broken" in facts:
        text = f"{program} does not even print its help: {facts['broken']}"
    elif facts["unknown"]:
        text = f"this {name} does not know {shown_list(facts['unknown'])}"
        remedy = "take it out of args, or correct engine.version: flags come and go with versions"
    else:
        level, text, remedy = Level.OK, f"{name} knows all {facts['passed']} flags", ""
    return Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge)
