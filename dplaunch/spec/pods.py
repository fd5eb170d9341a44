"""Nodes that are pods: which object makes each, what it is called, and the name that finds its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from dplaunch.model.cluster import NodeSpec, RoleSpec, RouterSpec
from dplaunch.model.kubernetes import Kubectl, KubernetesSpec, Mount
from dplaunch.ranges import grouped
from dplaunch.spec import schema


def kubernetes(file: schema.File) -> KubernetesSpec | None:
    """The section as a value; None where nodes are machines."""
    given = file.kubernetes
    if given is None or file.driver != "kubernetes":
        return None
    kubectl = Kubectl(
        program=given.kubectl,
        kubeconfig=given.kubeconfig,
        context=given.context,
        namespace=given.namespace,
    )
    return KubernetesSpec(
        image=given.image,
        package=given.package,
        kubectl=kubectl,
        host=given.host,
        pull=given.pull,
        pull_secrets=tuple(given.pull_secrets),
        resource=given.resource,
        workload=given.workload,
        service=given.service,
        host_network=given.host_network,
        shm_size=given.shm_size,
        requests=dict(given.requests),
        service_account=given.service_account,
        scheduler=given.scheduler,
        node_selector=dict(given.node_selector),
        labels=dict(given.labels),
        annotations=dict(given.annotations),
        mounts=tuple(_mount(path, source) for path, source in given.mounts.items()),
    )


def _mount(path: str, source: str) -> Mount:
    """``/mnt/weights``, ``/mnt/weights:ro`` or ``claim:weights``, as ``PATH: SOURCE`` in the file."""
    writable = source.removesuffix(":ro")
    name = writable.removeprefix("claim:")
    return Mount(path, name, read_only=writable != source, claim=name != writable)


def as_pods(
    cluster: str,
    nodes: Sequence[NodeSpec],
    roles: Sequence[RoleSpec],
    router: RouterSpec | None,
    found: KubernetesSpec,
) -> tuple[NodeSpec, ...]:
    """Each node with its pod and the pod's name in DNS, unless the file gives its address.

    Nodes of the same roles with as many devices have one object; what is alone on its node has its own.
    """
    alike = grouped((_purpose(node, roles, router), node) for node in nodes)
    taken: dict[str, int] = {}
    made: dict[str, NodeSpec] = {}
    for (purpose, _), members in alike.items():
        taken[purpose] = taken.get(purpose, 0) + 1
        number = f"-{taken[purpose]}" if taken[purpose] > 1 else ""
        workload = f"{cluster}-{purpose}{number}"
        role = led(found, members, roles)
        pods = _groups_of_pods(workload, role) if role else _ordinals(workload, members)
        domain = f"{workload if role else cluster}.{found.kubectl.namespace}.svc"
        for node in members:
            pod = pods[node.name]
            address = node.address or f"{pod}.{domain}"
            made[node.name] = replace(node, pod=pod, workload=workload, host=found.host, address=address)
    return tuple(made[node.name] for node in nodes)


def _purpose(node: NodeSpec, roles: Sequence[RoleSpec], router: RouterSpec | None) -> tuple[str, int]:
    here = [role.name for role in roles if node.name in role.nodes]
    alone = "router" if router and router.node == node.name else "node"
    return "-".join(here) or alone, len(node.devices)


def led(found: KubernetesSpec, members: Sequence[NodeSpec], roles: Sequence[RoleSpec]) -> RoleSpec | None:
    """The role whose groups a LeaderWorkerSet makes: ``members`` are its nodes, whole ones to each group."""
    names = tuple(node.name for node in members)
    if found.workload != "leaderworkerset":
        return None
    whole = (role for role in roles if role.nodes == names and len(names) % role.groups == 0)
    return next(whole, None)


def _ordinals(workload: str, members: Sequence[NodeSpec]) -> dict[str, str]:
    return {node.name: f"{workload}-{number}" for number, node in enumerate(members)}


def _groups_of_pods(workload: str, role: RoleSpec) -> Mapping[str, str]:
    """A group's first pod, the leader, has no number of its own."""
    return {
        node: f"{workload}-{group}-{number}" if number else f"{workload}-{group}"
        for group in range(role.groups)
        for number, node in enumerate(role.nodes_of(group))
    }
