from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType
from seating import an_endpoint, some_ports

from dplaunch.model.cluster import RouterSpec, RuntimeSpec, SshSpec
from dplaunch.model.observed import Observed, ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.model.plan import NodePlan, Plan, Process, Seat

GOLDEN = Path(__file__).parent / "golden"
STATE_HOME = "/srv/.local/state/dplaunch/deepseek-r1"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def golden(expect: Callable[[Path, str], None]) -> Callable[[str, Any], None]:
    """``golden(name, seen)``: a text is what ``golden/NAME.txt`` holds, any other value what ``NAME.json`` does."""

    def compare(name: str, seen: Any) -> None:
        if isinstance(seen, str):
            expect(GOLDEN / f"{name}.txt", f"{seen}\n")
        else:
            expect(GOLDEN / f"{name}.json", f"{json.dumps(seen, indent=2, ensure_ascii=False)}\n")

    return compare


@pytest.fixture
def terminal() -> type[Terminal]:
    return Terminal


@pytest.fixture
def draw() -> Callable[[RenderableType, int], str]:
    def drawn(renderable: RenderableType, width: int = 80) -> str:
        out = io.StringIO()
        console = Console(
            file=out, width=width, markup=False, highlight=False, emoji=False, force_terminal=False
        )
        console.print(renderable, crop=False)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    return drawn


def engine(
    role: str, number: int, rank: int, node: int, names: Callable[[int], str], **seat: object
) -> Process:
    local = int(seat.pop("local"))  # type: ignore[call-overload]
    width = int(seat.pop("width"))  # type: ignore[call-overload]
    size = int(seat.pop("local_size"))  # type: ignore[call-overload]
    group = int(seat["group"])  # type: ignore[call-overload]
    address = f"192.0.0.{node}"
    made = Seat(
        name=f"{role}-{number}", role=role, group=group, node=names(node), address=address, rank=rank,
        local_rank=local, local_size=size, devices=tuple(range(local * width, (local + 1) * width)),
        master=str(seat["master"]),
        ports=some_ports(9000 + local, 13395, (61000 + local * width, 61000 + (local + 1) * width, 61000)),
    )  # fmt: skip
    url = f"http://{address}:{9000 + local}"
    endpoint = replace(
        an_endpoint(made.name, made.node, url, model="deepseek_r1", rank=rank), group=made.group_name
    )
    return Process(
        name=made.name, kind="engine", role=role, group=made.group_name, node=made.node, argv=("bash",),
        ports=(9000 + local,), seats=(made,), endpoints=(endpoint,),
    )  # fmt: skip


def sample(
    names: Callable[[int], str] = "n{}".format, decode_nodes: int = 4, warnings: tuple[str, ...] = ()
) -> Plan:
    """The documented 4P4D deployment: 4 prefill groups of 2 × tp 8, one decode group of 16 per node."""
    processes: dict[int, list[Process]] = {node: [] for node in range(1, 5 + decode_nodes)}
    for node in range(1, 5):
        for rank in range(2):
            processes[node].append(
                engine("prefill", 2 * (node - 1) + rank, rank, node, names, group=node - 1, local=rank, width=8,
                       local_size=2, master=f"192.0.0.{node}")
            )  # fmt: skip
    for rank in range(16 * decode_nodes):
        node = 5 + rank // 16
        processes[node].append(
            engine("decode", rank, rank, node, names, group=0, local=rank % 16, width=1, local_size=16,
                   master="192.0.0.5")
        )  # fmt: skip
    router = Process(name="router", kind="service", role="router", group="router", node=names(1), argv=("python3",),
                     ports=(8000,), endpoints=(an_endpoint("router", names(1), "http://192.0.0.1:8000"),))  # fmt: skip
    processes[1].append(router)
    nodes = tuple(
        NodePlan(name=names(n), host=f"192.0.0.{n}", address=f"192.0.0.{n}", ssh=SshSpec(), runtime=RuntimeSpec(),
                 files=(), processes=tuple(ps))
        for n, ps in processes.items()
    )  # fmt: skip
    return Plan(
        cluster="deepseek-r1", revision="3f9a2c81", engine="vllm-ascend 0.23.0", model="vllm-ascend/DeepSeek-R1-W8A8",
        served_model_name="deepseek_r1", nodes=nodes, router=RouterSpec(node=names(1)),
        url="http://192.0.0.1:8000", warnings=warnings,
    )  # fmt: skip


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    return sample


@pytest.fixture
def big_plan() -> Plan:
    return sample()


def seen(process: Process, **changes: object) -> ObservedProcess:
    """The process as running. ``healthy`` is that of its endpoints: one answer, or one by name."""
    healthy = changes.pop("healthy", True)
    endpoints = tuple(
        ObservedEndpoint(
            name=e.name, url=e.url, healthy=healthy[e.name] if isinstance(healthy, dict) else healthy
        )
        for e in process.endpoints
    )
    fields: dict[str, object] = {
        "state": State.RUNNING, "pid": 4000 + len(process.name), "started_at": 1_000_000.0,
        "log": f"{STATE_HOME}/{process.node}/proc/{process.name}/log", "endpoints": endpoints, "ports": process.ports,
    }  # fmt: skip
    fields.update(changes)
    return ObservedProcess(
        name=process.name,
        kind=process.kind,
        role=process.role,
        group=process.group,
        node=process.node,
        **fields,
    )  # type: ignore[arg-type]


@pytest.fixture
def observe() -> Callable[..., Observed]:
    """The plan as running; ``changes``: process → changed fields; ``unreached``: node → reason; ``gone``: names."""

    def observed(
        plan: Plan,
        changes: dict[str, dict[str, object]] | None = None,
        unreached: dict[str, str] | None = None,
        gone: tuple[str, ...] = (),
        extra: tuple[ObservedProcess, ...] = (),
    ) -> Observed:
        nodes = tuple(
            ObservedNode(
                name=node.name, revision=plan.revision, hostname=f"host-{node.name}", clock=1_011_520.0,
                processes=(
                    *(seen(p, **(changes or {}).get(p.name, {})) for p in node.processes if p.name not in gone),
                    *(p for p in extra if p.node == node.name),
                ),
            )
            for node in plan.nodes
            if node.name not in (unreached or {})
        )  # fmt: skip
        return Observed(nodes=nodes, unreached=unreached or {})

    return observed
