"""Probes without a machine: targets as preflight makes them, and findings as short texts."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dplaunch.model.check import Command, Output
from dplaunch.model.cluster import ClusterSpec
from dplaunch.plan.build import build
from dplaunch.probes.probe import Probe, Target

Said = Mapping[str, str | Output]
"""A command's key → what came of it; a text is the output of one that went well."""


def targets(spec: ClusterSpec, *, rehearse: bool = False) -> tuple[Target, ...]:
    """Every node, where it is planned to be."""
    by_name = {node.name: node for node in spec.nodes}
    planned = build(spec, rehearse=rehearse)
    return tuple(
        Target(
            spec=spec,
            node=replace(by_name[node.name], host=node.host, address=node.address),
            plan=node,
            rehearsal=planned.rehearsal,
        )
        for node in planned.nodes
    )


def findings(probe: Probe, nodes: Sequence[Target], said: Mapping[str, Said]) -> list[str]:
    """``fail n2: text``, of what the probe says when each node's commands gave this."""
    facts = {
        target.name: probe.parse(target, {key: _output(value) for key, value in said[target.name].items()})
        for target in nodes
        if target.name in said
    }
    found = list(probe.judge(nodes, facts))
    assert all(finding.probe == probe.name for finding in found)
    assert all(finding.remedy for finding in found if finding.level.value in ("warn", "fail"))
    return [f"{finding.level.value} {finding.node}: {finding.text}" for finding in found]


def bad(said: Sequence[str]) -> list[str]:
    """Those that are not ok."""
    return [line for line in said if not line.startswith("ok ")]


def commands(probe: Probe, target: Target) -> dict[str, Command]:
    """Its commands by key; keys are unique."""
    found = list(probe.commands(target, {}))
    by_key = {command.key: command for command in found}
    assert len(by_key) == len(found)
    return by_key


def run(command: Command, **env: str) -> Output:
    """The command on this machine, with this environment and a PATH."""
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
