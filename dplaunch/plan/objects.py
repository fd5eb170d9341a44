"""A cluster's objects for Kubernetes: Services that give pods names, and what makes the pods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch.model.cluster import ClusterSpec, NodeSpec, RouterSpec
from dplaunch.model.kubernetes import (
    CLUSTER_LABEL,
    CONTAINER,
    POD_IP,
    TEMPLATE,
    KubernetesPlan,
    KubernetesSpec,
    Manifest,
    Pod,
)
from dplaunch.ranges import grouped
from dplaunch.spec.pods import led

Object = dict[str, Any]

STATE = "/var/lib/dplaunch"
"""Where guards keep their state: it outlives the container, not the pod."""
POD_NAME = "statefulset.kubernetes.io/pod-name"
"""Label that the StatefulSet's controller gives each pod, also below a LeaderWorkerSet."""
WORKLOAD_LABEL = "dplaunch/workload"
GRACE = 60
"""Seconds that processes have when a pod is deleted by others; ``down`` has stopped them before."""
IDLE = f"""\
leave() {{
  kill -TERM -1; left={GRACE - 5}
  while kill -0 -1 && [ $left -gt 0 ]; do sleep 1; left=$((left - 1)); done
  exit 0
}}
trap leave TERM
while :; do sleep 3600 & wait $!; done"""
"""The pod's first process: it waits, reaps, and passes SIGTERM on. Guards start and stop what serves."""


def objects(spec: ClusterSpec, router: RouterSpec | None) -> KubernetesPlan | None:
    """All objects of the cluster, and how they are applied; None where nodes are machines."""
    found = spec.kubernetes
    if found is None:
        return None
    by_workload = grouped((node.workload, node) for node in spec.nodes)
    made = [_headless(spec.name)]
    if router is not None:
        at = next(node for node in spec.nodes if node.name == router.node)
        made.append(_front(spec.name, found, at, router))
    workloads = (_workload(spec, found, name, nodes) for name, nodes in by_workload.items())
    return KubernetesPlan(
        kubectl=found.kubectl,
        host=found.host,
        image=found.image,
        resource=found.resource,
        devices={node.name: len(node.devices) for node in spec.nodes},
        manifests=(*(_manifest(one) for one in made), *workloads),
    )


def pods(spec: ClusterSpec) -> dict[str, Pod]:
    """Node → its pod, with the hash of what it is made from; empty where nodes are machines."""
    found = spec.kubernetes
    if found is None:
        return {}
    by_workload = grouped((node.workload, node) for node in spec.nodes)
    return {
        node.name: Pod(
            name=node.pod,
            workload=workload,
            kubectl=found.kubectl,
            template=_stamp(_template(spec, found, nodes)),
        )
        for workload, nodes in by_workload.items()
        for node in nodes
    }


def _manifest(one: Object, nodes: Sequence[NodeSpec] = ()) -> Manifest:
    text = json.dumps(one, indent=2, ensure_ascii=False) + "\n"
    return Manifest(
        kind=one["kind"], name=one["metadata"]["name"], text=text, nodes=tuple(node.name for node in nodes)
    )


def _named(cluster: str, name: str) -> Object:
    return {"name": name, "labels": {CLUSTER_LABEL: cluster}}


def _headless(cluster: str) -> Object:
    """Gives every pod a name, also before it serves: ranks meet while they load."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {CLUSTER_LABEL: cluster},
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _named(cluster, cluster), "spec": spec}


def _front(cluster: str, found: KubernetesSpec, node: NodeSpec, router: RouterSpec) -> Object:
    """What clients use: it leads to the router's pod."""
    spec = {
        "type": found.service,
        "selector": {CLUSTER_LABEL: cluster, POD_NAME: node.pod},
        "ports": [{"name": "http", "protocol": "TCP", "port": router.port, "targetPort": router.port}],
    }
    name = f"{cluster}-router"
    return {"apiVersion": "v1", "kind": "Service", "metadata": _named(cluster, name), "spec": spec}


def _workload(spec: ClusterSpec, found: KubernetesSpec, name: str, nodes: Sequence[NodeSpec]) -> Manifest:
    template = _template(spec, found, nodes)
    template["metadata"]["annotations"][TEMPLATE] = _stamp(template)
    role = led(found, nodes, spec.roles)
    if role is not None:
        size = len(nodes) // role.groups
        return _manifest(_leader_worker_set(spec.name, name, template, role.groups, size), nodes)
    made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _named(spec.name, name),
        "spec": {
            "serviceName": spec.name,
            "replicas": len(nodes),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {CLUSTER_LABEL: spec.name, WORKLOAD_LABEL: name}},
            "template": template,
        },
    }
    return _manifest(made, nodes)


def _leader_worker_set(cluster: str, name: str, template: Object, groups: int, size: int) -> Object:
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": _named(cluster, name),
        "spec": {
            "replicas": groups,
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"maxUnavailable": "100%"},  # nothing serves while pods change
            },
            "leaderWorkerTemplate": {"size": size, "restartPolicy": "None", "workerTemplate": template},
        },
    }


def _stamp(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:12]


def _template(spec: ClusterSpec, found: KubernetesSpec, nodes: Sequence[NodeSpec]) -> Object:
    """What each pod of these nodes is made from, without its stamp."""
    first = nodes[0]
    labels = {**found.labels, CLUSTER_LABEL: spec.name, WORKLOAD_LABEL: first.workload}
    return {
        "metadata": {"labels": labels, "annotations": dict(found.annotations)},
        "spec": {
            **_placement(found),
            "containers": [_container(found, len(first.devices))],
            "volumes": _volumes(found),
        },
    }


def _placement(found: KubernetesSpec) -> Object:
    wanted: Object = {
        "terminationGracePeriodSeconds": GRACE,
        "enableServiceLinks": False,
        "automountServiceAccountToken": found.service_account is not None,
        "serviceAccountName": found.service_account,
        "schedulerName": found.scheduler,
        "nodeSelector": dict(found.node_selector),
        "imagePullSecrets": [{"name": name} for name in found.pull_secrets],
        "hostNetwork": found.host_network or None,
        "dnsPolicy": "ClusterFirstWithHostNet" if found.host_network else None,
    }
    return {key: value for key, value in wanted.items() if value not in (None, {}, [])}


def _container(found: KubernetesSpec, devices: int) -> Object:
    wanted = {**found.requests, **({found.resource: str(devices)} if devices else {})}
    own_address = {"fieldRef": {"fieldPath": "status.podIP"}}
    return {
        "name": CONTAINER,
        "image": found.image,
        "imagePullPolicy": found.pull,
        "command": ["sh", "-c", IDLE],
        "env": [{"name": POD_IP, "valueFrom": own_address}, {"name": "XDG_STATE_HOME", "value": STATE}],
        "volumeMounts": list(_volume_mounts(found)),
        **({"resources": {"requests": wanted, "limits": wanted}} if wanted else {}),
    }


def _volume_mounts(found: KubernetesSpec) -> Iterator[Object]:
    yield {"name": "state", "mountPath": STATE}
    if found.shm_size:
        yield {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - not a file of ours
    for number, mount in enumerate(found.mounts):
        only = {"readOnly": True} if mount.read_only else {}
        yield {"name": f"mount-{number}", "mountPath": mount.path, **only}


def _volumes(found: KubernetesSpec) -> list[Object]:
    volumes: list[Object] = [{"name": "state", "emptyDir": {}}]
    if found.shm_size:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": found.shm_size}})
    for number, mount in enumerate(found.mounts):
        source = (
            {"persistentVolumeClaim": {"claimName": mount.source}}
            if mount.claim
            else {"hostPath": {"path": mount.source}}
        )
        volumes.append({"name": f"mount-{number}", **source})
    return volumes
