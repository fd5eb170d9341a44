"""One suite, three worlds: nodes in memory; real guards on this machine with processes that obey the test; those in pods."""

from __future__ import annotations

import itertools
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubestub
import pytest
from memory import MemoryDriver
from msgspec.structs import replace
from nodes import Health, Node
from plans import a_plan, a_process
from waiting import until

from dplaunch.fleet.driver import Machines
from dplaunch.fleet.guards import Address, GuardedMachines, open_session
from dplaunch.fleet.kubernetes import Client, Pods
from dplaunch.model.plan import Place, Plan, Process, StopStep
from dplaunch.model.remote import Refusal, Signal
from dplaunch.plan import build
from dplaunch.spec import load
from dplaunch.transport import Options, connect
from dplaunch.transport.local import LocalHost

FILE = """\
cluster: c
driver: kubernetes
kubernetes: {{image: "engine:1", kubectl: {kubectl}}}
engine: {{kind: rehearsal}}
model: m
hardware: {{devices: 1, family: a2}}
nodes: [{{name: "n[1-2]"}}]
roles: {{serve: {{nodes: "n[1-2]", dp: 2}}}}
router: {{kind: none}}
"""
"""Its nodes are the pods c-serve-0 and c-serve-1."""
PUPPET = Path(__file__).with_name("puppet.py")


class Memory:
    """Nodes in memory."""

    def __init__(self) -> None:
        self.nodes = {name: Node(name) for name in ("n1", "n2")}
        self._ports = itertools.count(9000)

    def a_process(self, name: str, node: str, **fields: Any) -> Process:
        made = a_process(name, node, **fields)
        endpoints = tuple(replace(e, url=f"http://127.0.0.1:{next(self._ports)}") for e in made.endpoints)
        return replace(
            made, endpoints=endpoints, ports=tuple(int(e.url.rpartition(":")[2]) for e in endpoints)
        )

    def launcher(self, plan: Plan) -> Machines:
        for process in plan.processes:
            if process.argv[0].startswith("/no/"):
                refusal = Refusal(kind="exec", text=f"{process.name}: {process.argv[0]} not found")
                self.nodes[process.node].refused[process.name] = refusal
        return MemoryDriver(self.nodes[node.name] for node in plan.nodes)

    def hold(self, port: int) -> None:
        """Somebody else listens there."""
        for node in self.nodes.values():
            node.held.add(port)

    def say(self, place: Place, *lines: str) -> None:
        self.nodes[place[0]].write(place[1], *lines)

    def write(self, place: Place, log: str, *lines: str) -> None:
        self.nodes[place[0]].write((place[1], log), *lines)

    def respond(self, place: Place, endpoint: str, status: int, model: str = "m") -> None:
        ok = status == 200
        health = Health(ok=ok, named=ok and model == "m", status=status)
        self.nodes[place[0]].turn(place[1], endpoint, health)

    def ignore(self, place: Place) -> None:
        """It does not end when it is asked to."""
        self.nodes[place[0]].slow.add(place[1])

    def end(self, place: Place, code: int) -> None:
        node, name = self.nodes[place[0]], place[1]
        if node.processes[name].kind == "service":
            node.run_again(name, code)
        else:
            node.end(name, code)

    def die(self, place: Place) -> None:
        """The kernel kills it."""
        self.nodes[place[0]].end(place[1], None, "SIGKILL")

    def close(self) -> None:
        """Nothing is left of it."""


class Guarded:
    """Real guards on this machine, each node with a folder of its own below ``home``."""

    def __init__(self, home: Path, lib: Path) -> None:
        self._home = home
        (home / "dplaunch").mkdir(parents=True, mode=0o700)
        (home / "dplaunch" / "lib").symlink_to(lib)
        self._orders = itertools.count()
        self._open: list[GuardedMachines] = []
        self._held: list[socket.socket] = []

    def a_process(self, name: str, node: str, **fields: Any) -> Process:
        made = a_process(name, node, **fields)
        ports = {endpoint.name: free_port() for endpoint in made.endpoints}
        folder = self._folder((node, name))
        folder.mkdir(parents=True)
        return replace(
            made,
            argv=(
                sys.executable,
                "-I",
                "-S",
                str(PUPPET),
                str(folder),
                *(f"{n}={p}" for n, p in ports.items()),
            ),
            endpoints=tuple(replace(e, url=f"http://127.0.0.1:{ports[e.name]}") for e in made.endpoints),
            ports=tuple(ports.values()),
            stop=(StopStep("TERM", 5.0), StopStep("KILL", 5.0)),
        )

    def launcher(self, plan: Plan) -> Machines:
        driver = self._driver(plan)
        self._open.append(driver)
        return driver

    def _driver(self, plan: Plan) -> GuardedMachines:
        address = Address(plan.cluster, str(self._home))
        return GuardedMachines(
            plan.nodes, lambda node: open_session(node, lambda n: LocalHost(n.name), address)
        )

    def hold(self, port: int) -> None:
        taken = socket.create_server(("127.0.0.1", port))
        self._held.append(taken)

    def say(self, place: Place, *lines: str) -> None:
        self._order(place, "say", *lines)

    def write(self, place: Place, log: str, *lines: str) -> None:
        self._order(place, "write", f"{log}.log", *lines)

    def respond(self, place: Place, endpoint: str, status: int, model: str = "m") -> None:
        self._order(place, "respond", endpoint, status, model)

    def ignore(self, place: Place) -> None:
        self._order(place, "ignore")
        self._obeyed(place)

    def end(self, place: Place, code: int) -> None:
        self._order(place, "end", code)

    def die(self, place: Place) -> None:
        self._order(place, "die")

    def _folder(self, place: Place) -> Path:
        return self._home / "orders" / place[0] / place[1]

    def _order(self, place: Place, *words: object) -> None:
        path = self._folder(place) / f"{next(self._orders):04}"
        new = self._home / "order.new"
        new.write_text(json.dumps(words))
        new.replace(path)

    def _obeyed(self, place: Place) -> None:
        until(lambda: not any(self._folder(place).iterdir()))

    def close(self) -> None:
        for taken in self._held:
            taken.close()
        last = self._open[-1] if self._open else None
        if last is not None:
            last.open()
            alive = [one.place for one in last.observe().processes if one.alive]
            last.stop(alive, 1.0, lambda _: None, patient=False)
        for driver in self._open:
            driver.close()


class Podded(Guarded):
    """The same in pods, which are made anew for each test, and entered through kubectl."""

    def __init__(self, home: Path, lib: Path, planned: Plan) -> None:
        super().__init__(home, lib)
        assert planned.kubernetes
        self._objects = planned.kubernetes
        self._pods = {node.name: node.pod for node in planned.nodes}
        self._cluster = kubestub.Cluster(Path(self._objects.kubectl.program).parent)

    def _driver(self, plan: Plan) -> Pods:
        nodes = tuple(replace(node, host="localhost", pod=self._pods[node.name]) for node in plan.nodes)
        address = Address(plan.cluster)
        return Pods(
            replace(plan, nodes=nodes),
            self._objects,
            lambda node: open_session(node, lambda n: connect(n, options=Options()), address),
            Client(self._objects.kubectl, lambda: LocalHost("kubectl")),
        )

    def close(self) -> None:
        super().close()
        for pod in self._pods.values():
            if pod:
                self._cluster.delete("pod", pod.name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Heard:
    """What a launcher hears, kept in order."""

    def __init__(self, driver: Machines) -> None:
        self.signals: list[Signal] = []
        self._driver = driver

    def until(self, found: Callable[[list[Signal]], object], seconds: float = 15.0) -> list[Signal]:
        """All signals so far, when ``found`` holds of them."""
        deadline = self._driver.clock() + seconds
        held = self._driver.listen(self.signals.append, lambda: bool(found(self.signals)), deadline)
        assert held, f"not within {seconds:g} s; heard {self.signals}"
        return self.signals

    def of(self, kind: type) -> list[Any]:
        return [signal for signal in self.signals if isinstance(signal, kind)]


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory, lib: Path) -> Plan:
    """A plan whose objects are there already."""
    program = kubestub.install(tmp_path_factory.mktemp("pods") / "kube", lib=lib)
    made = build(load(FILE.format(kubectl=program), "cluster.yaml", read_file=lambda _: None).spec)
    for manifest in made.kubernetes.manifests if made.kubernetes else ():
        kubestub.Cluster(program.parent).apply(json.loads(manifest.text))
    return made


@pytest.fixture(params=["memory", "guards", "pods"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, lib: Path, planned: Plan
) -> Iterator[Memory | Guarded]:
    made: Memory | Guarded = Memory()
    if request.param == "guards":
        made = Guarded(tmp_path / "state", lib)
    elif request.param == "pods":
        made = Podded(tmp_path / "state", lib, planned)
    yield made
    made.close()


@pytest.fixture
def opened(world):
    """``opened(*processes)``: their plan, and a launcher that has reached its nodes."""

    def make(*processes: Process, **fields: Any) -> tuple[Plan, Machines]:
        plan = a_plan(*processes, **fields)
        plan = replace(plan, nodes=tuple(replace(node, address="127.0.0.1") for node in plan.nodes))
        driver = world.launcher(plan)
        driver.open()
        assert driver.unreached == {}
        return plan, driver

    return make


@pytest.fixture
def heard() -> type[Heard]:
    return Heard
