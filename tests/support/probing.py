"""Probes without a machine: targets as preflight makes them, and findings as short lines."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from dplaunch.model.check import Command, Output
from dplaunch.model.cluster import ClusterSpec
from dplaunch.plan.build import build
from dplaunch.probes.probe import Probe, ProbeTarget

Outputs = Mapping[str, str | Output]
"""A command's key → its output; a text is the output of a command that succeeded."""


def targets(spec: ClusterSpec, *, rehearse: bool = False) -> tuple[ProbeTarget, ...]:
    """Return every node, at the place that the plan gives it."""
    by_name = {node.name: node for node in spec.nodes}
    planned = build(spec, rehearse=rehearse)
    return tuple(
        ProbeTarget(
            spec=spec,
            node=replace(by_name[node.name], host=node.host, address=node.address),
            plan=node,
            rehearsal=planned.rehearsal,
        )
        for node in planned.nodes
    )


def findings(probe: Probe, nodes: Sequence[ProbeTarget], outputs: Mapping[str, Outputs]) -> list[str]:
    """Return the probe's findings as ``fail n2: text``, given node → outputs of its commands."""
    facts = {
        target.name: probe.parse(target, {key: _output(value) for key, value in outputs[target.name].items()})
        for target in nodes
        if target.name in outputs
    }
    found = list(probe.judge(nodes, facts))
    assert all(finding.probe == probe.name for finding in found)
    assert all(finding.remedy for finding in found if finding.level.value in ("warn", "fail"))
    return [f"{finding.level.value} {finding.node}: {finding.text}" for finding in found]


def bad(lines: Sequence[str]) -> list[str]:
    """Return the findings that are not ok."""
    return [line for line in lines if not line.startswith("ok ")]


def commands(probe: Probe, target: ProbeTarget) -> dict[str, Command]:
    """Return the probe's commands for a node by their keys, which are unique."""
    found = list(probe.commands(target, {}))
    by_key = {command.key: command for command in found}
    assert len(by_key) == len(found)
    return by_key


def run(command: Command, **env: str) -> Output:
    """Run the command on this machine, with this environment and a PATH."""
    done = subprocess.run(
        command.argv,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=command.timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **env},
    )
    return Output(code=done.returncode, out=done.stdout, err=done.stderr)


def _output(value: str | Output) -> Output:
    return value if isinstance(value, Output) else Output(code=0, out=value)
