"""Plans as tests write them: processes by name, their nodes in order of appearance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from dplaunch.model.cluster import RouterSpec, RuntimeSpec, SshSpec
from dplaunch.model.kubernetes import Deployment, Kubectl, Named, Needs
from dplaunch.model.plan import Api, Endpoint, NodePlan, Plan, Process, Ready, Stage
from dplaunch.plan.router import members_file

FETCHED = 'toy:fetched{from="elsewhere"}'
API = Api(running="toy:running", waiting="toy:waiting", fetched=(FETCHED, "toy:bytes_fetched"))
"""Of an engine that nothing in the product knows."""
OURS = "dplaunch"


def a_process(name: str, node: str, *, endpoints: Sequence[str] | None = None, **fields: Any) -> Process:
    """An engine of group 0 of the role that ``name`` begins with; a name without a number is a service's.

    ``endpoints``: their names; None is one, called as the process is.
    """
    role, engine, _ = name.rpartition("-")
    role = str(fields.get("role", role if engine else name))
    basic: dict[str, Any] = {
        "kind": "engine" if engine else "service",
        "role": role,
        "group": f"{role}/0" if engine else name,
    }
    whole = {**basic, **fields}
    made = tuple(
        Endpoint(
            name=one,
            role=role,
            group=whole["group"],
            node=node,
            url=f"http://{node}:{9000 + number}",
            ranks=(number,) if whole["kind"] == "engine" else (),
            api=API if whole["kind"] == "engine" else Api(),
            model="m",
        )
        for number, one in enumerate((name,) if endpoints is None else endpoints)
    )
    return Process(name=name, node=node, argv=("run", name), endpoints=made, **whole)


def a_job(name: str, node: str, **fields: Any) -> Process:
    """A process without HTTP, ready when it has ended with code 0."""
    return a_process(name, node, endpoints=(), kind="job", ready=Ready("exit"), **fields)


def a_deployment() -> Deployment:
    """What an engine's own program makes on Kubernetes."""
    needs = Needs(
        kinds={"queues.x": "X"}, programs={"x": "X"}, image="i", resource="r", pods=(8,), labels={"a": "b"}
    )
    job = Named("jobs.x", "j")
    return Deployment(
        node="n1", process="deploy", kubectl=Kubectl(), cluster="c", digest="d", marker="m", selector="a=b",
        objects=(job,), shapes={"decode": "1 pod"}, further=(job,), kinds="jobs.x,pods", package="/p", needs=needs,
    )  # fmt: skip


def a_plan(*processes: Process, **fields: Any) -> Plan:
    """A plan of these processes; with a router of ours it has a members file."""
    nodes = tuple(
        NodePlan(
            name=name,
            host=name,
            address=name,
            ssh=SshSpec(connect_timeout=1.0),
            runtime=RuntimeSpec(),
            files=(),
            processes=tuple(process for process in processes if process.node == name),
        )
        for name in dict.fromkeys(process.node for process in processes)
    )
    basic: dict[str, Any] = {
        "cluster": "c",
        "revision": "r1",
        "engine": "toy 1",
        "model": "m",
        "served_model_name": "m",
        "router": next((RouterSpec(node=p.node) for p in processes if p.role == "router"), None),
        "url": "http://n1:8000",
        "stages": (Stage("load", "Loading"), Stage("serve", "Started")),
        "drain_timeout": {process.role: 30.0 for process in processes if process.kind == "engine"},
        "flow": "pull" if any(process.role == "prefill" for process in processes) else "alone",
    }
    plan = Plan(**{**basic, "nodes": nodes, **fields})
    ours = plan.router is not None and plan.router.kind == OURS
    return replace(plan, members=members_file(plan)) if ours else plan
