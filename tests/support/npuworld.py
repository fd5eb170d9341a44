"""Nodes whose NPU tools answer from memory: the probes' commands, outputs, facts and findings, no process.

``breaks`` says what is different from health: (node, words of the call) → text or ``Output``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import npustub
from msgspec.structs import replace
from seating import some_ports
from specs import A2, A3, cluster, nodes, serve

from dplaunch.model.check import Command, Facts, Finding, Level, Output
from dplaunch.model.cluster import NodeSpec
from dplaunch.model.plan import NodePlan, Process, Seat
from dplaunch.probes import npu
from dplaunch.probes.npu_pairs import NamedDevices
from dplaunch.probes.probe import Probe, ProbeTarget

Breaks = Mapping[tuple[int, str], str | Output]
CONF = "cat /etc/hccn.conf"


class World:
    """``count`` healthy nodes n1 …, but for what is broken."""

    def __init__(
        self,
        family: str,
        count: int = 3,
        breaks: Breaks | None = None,
        devices: tuple[int, ...] = (),
        **spec: object,
    ) -> None:
        self.breaks = dict(breaks or {})
        devices = devices or tuple(range(npustub.DEVICES[family]))
        hardware = A3 if family == "a3" else A2
        role = serve(nodes=tuple(f"n{node}" for node in range(1, count + 1)), dp=count * len(devices))
        self.family = family
        machines = tuple(replace(node, devices=devices) for node in nodes(count))
        self.spec = cluster(role, hardware=hardware, nodes=machines, **spec)
        self.targets = [self._target(node) for node in self.spec.nodes]
        self._healthy = {node: dict(self._answers(node)) for node in range(1, count + 1)}
        self.asked: list[tuple[str, str]] = []

    def findings(
        self,
        probes: Iterable[Probe] = npu.PROBES,
        *,
        all_pairs: bool = False,
        named: NamedDevices | None = None,
    ) -> list[Finding]:
        """Of these probes, then of the ping."""
        seen: dict[str, dict[str, Facts]] = {target.name: {} for target in self.targets}
        found: list[Finding] = []
        for probe in (*probes, npu.make_ping_probe(all_pairs, named)):
            facts = {}
            for target in self.targets:
                commands = list(probe.commands(target, seen))
                if commands:
                    outputs = {command.key: self._output(target, command) for command in commands}
                    facts[target.name] = probe.parse(target, outputs)
            for name, values in facts.items():
                seen[name][probe.name] = values
            found += probe.judge(self.targets, facts)
        return found

    def _target(self, node: NodeSpec) -> ProbeTarget:
        plan = NodePlan(
            name=node.name,
            host=node.host,
            address=node.address,
            ssh=node.ssh,
            runtime=self.spec.runtime,
            files=(),
            processes=(an_engine(node, node.devices),),
        )
        return ProbeTarget(spec=self.spec, node=node, plan=plan)

    def _answers(self, node: int) -> Iterator[tuple[str, str]]:
        yield CONF, npustub.hccn_conf(self.family, node)
        for tool, answers in (("npu-smi", npustub.smi_answers), ("hccn_tool", npustub.hccn_answers)):
            for words, text in answers(self.family, node):
                yield f"{tool} {words}", text

    def _output(self, target: ProbeTarget, command: Command) -> Output:
        node = int(target.name[1:])
        call = called(command.argv)
        self.asked.append((target.name, call))
        answers = self._healthy[node]
        any_call = f"{call.rpartition(' ')[0]} any"
        healthy = answers.get(call) or answers.get(any_call, "")
        tool = call.partition(" ")[0]
        broken = self.breaks.get(
            (node, call), self.breaks.get((node, any_call), self.breaks.get((node, tool)))
        )
        if isinstance(broken, Output):
            return broken
        return Output(code=0, out=healthy if broken is None else broken)


def called(argv: Sequence[str]) -> str:
    """``hccn_tool -i 3 -link -g``, out of its wrapping."""
    if argv[0] != "sh":
        return " ".join(argv[2:])
    tool = argv[2].rpartition("exec ")[2].split()[0]
    return " ".join((tool, *argv[4:]))


def an_engine(node: NodeSpec, devices: tuple[int, ...]) -> Process:
    seat = Seat(
        name="serve-0",
        role="serve",
        group=0,
        node=node.name,
        address=node.address,
        rank=0,
        local_rank=0,
        local_size=1,
        devices=devices,
        master=node.address,
        ports=some_ports(9000),
    )
    return Process(
        name="serve-0", kind="engine", role="serve", group="serve/0", node=node.name, argv=(), seats=(seat,)
    )


def faults(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level in (Level.FAIL, Level.WARN)]


def without_devices(world: World, node: int) -> None:
    """No engine sits on that node."""
    target = world.targets[node - 1]
    world.targets[node - 1] = replace(target, plan=replace(target.plan, processes=()))
