"""What needs no command: is a node reached, can its state be written, does its clock agree, who is on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.fleet.job import Job
from dplaunch.model.check import Finding, Level
from dplaunch.model.observed import Observed, ObservedProcess
from dplaunch.model.remote import Hello
from dplaunch.preflight.survey import Answer
from dplaunch.probes.probe import Target
from dplaunch.probes.words import clean, shown_list
from dplaunch.words import plural, shorten

SKEW_WARN, SKEW_FAIL = 2.0, 60.0
"""Seconds. Small skew only confuses the order of log lines of two nodes; much of it breaks certificates."""

SHOWN = 60
"""Characters of a stranger's command line."""
NAMED = 3
"""Strangers that are named; how many there are is told."""


def reached(job: Job) -> Iterator[Finding]:
    """``host.login`` of every node, ``host.state`` of those that were reached."""
    for node in job.plan.nodes:
        error = job.driver.unreached.get(node.name)
        if error is not None:
            text = error.text.removeprefix(node.name).removeprefix(":").strip()
            text = text.removeprefix(f"({node.host}) ")
            yield Finding(probe="host.login", level=Level.FAIL, node=node.name, text=text, remedy=error.hint)
            continue
        hello = job.driver.hello(node.name)
        text = f"reached, Python {hello.python}"
        yield Finding(probe="host.login", level=Level.OK, node=node.name, text=text)
        yield _state(node.name, hello)


def _state(node: str, hello: Hello) -> Finding:
    if hello.writable:
        return Finding(probe="host.state", level=Level.OK, node=node, text="state folder can be written")
    remedy = "free space, remount it writable, or let XDG_STATE_HOME name another place"
    text = f"state cannot be kept: {hello.problem}"
    return Finding(probe="host.state", level=Level.FAIL, node=node, text=text, remedy=remedy)


def clocks(job: Job) -> Iterator[Finding]:
    """``host.clock``: each node against the middle of all; the operator's own clock does not matter."""
    for node, off in job.driver.ahead().items():
        if abs(off) < SKEW_WARN:
            yield Finding(probe="host.clock", level=Level.OK, node=node, text="clock agrees with the others")
            continue
        yield Finding(
            probe="host.clock",
            level=Level.WARN if abs(off) < SKEW_FAIL else Level.FAIL,
            node=node,
            text=f"clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the other nodes",
            remedy="let chrony or ntp set it: log lines of different nodes cannot be put in order otherwise",
            fix="chronyc makestep",
        )


def ports(nodes: Sequence[Target], answers: Mapping[str, Answer], observed: Observed) -> Iterator[Finding]:
    """``host.ports``: those we will bind and somebody else holds."""
    running = {(p.node, port): p.name for p in observed.processes if p.alive for port in p.ports}
    for target in nodes:
        answer = answers.get(target.name)
        if answer is None:
            continue
        strangers = [
            holder
            for holder in answer.taken
            if holder["pid"] not in answer.ours and (target.name, holder["port"]) not in running
        ]
        yield from (_taken(target, holder) for holder in strangers)
        if not strangers and any(process.ports for process in target.plan.processes):
            text = "all ports it needs are free, or our own"
            yield Finding(probe="host.ports", level=Level.OK, node=target.name, text=text)


def _taken(target: Target, holder: Mapping[str, Any]) -> Finding:
    port = holder["port"]
    who = next(process.name for process in target.plan.processes if port in process.ports)
    return Finding(
        probe="host.ports",
        level=Level.FAIL,
        node=target.name,
        text=f"port {port}, which {who} will bind, is taken by {_named(holder)}",
        remedy="end it if nobody needs it, or choose other ports in the cluster file (ports, router.port)",
    )


def _named(process: Mapping[str, Any]) -> str:
    """``pid 4711 (python3 -m http.server) of user anna``, as far as it is known."""
    command = shorten(clean(process["command"]), SHOWN)
    who = f"pid {process['pid']} ({command})" if process["pid"] else "a process we may not look at"
    return f"{who} of user {process['user']}" if process["user"] else who


def strangers(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """``host.leftover`` of others: engines that no guard started; those that hold a port are told there."""
    for node, answer in answers.items():
        holders = {holder["pid"] for holder in answer.taken}
        named = [_named(one) for one in answer.strangers if not holders.intersection(one["pids"])]
        if named:
            yield Finding(
                probe="host.leftover",
                level=Level.WARN,
                node=node,
                text=f"engines or routers of others run here: {shown_list(named, NAMED)}",
                remedy="look whether they hold devices or ports; dplaunch never ends them",
            )


def leftovers(job: Job, observed: Observed) -> Iterator[Finding]:
    """``host.leftover``: what an earlier run of this cluster left, known by pid and start time."""
    planned = {process.place for process in job.plan.processes}
    for process in observed.processes:
        if process.left:
            yield _left(process, f"{plural(len(process.left), 'process')} of {process.name} outlived it")
        elif process.alive and process.place not in planned:
            yield _left(process, f"{process.name} runs (pid {process.pid}) and is not in the file any more")


def _left(process: ObservedProcess, text: str) -> Finding:
    return Finding(
        probe="host.leftover",
        level=Level.WARN,
        node=process.node,
        text=text,
        remedy="dplaunch down ends what earlier runs left; strangers are never touched",
    )
