"""What the kubernetes driver works with: the file's section, pods in the place of machines, objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

CONTAINER = "engine"
"""The one container of each pod."""
CLUSTER_LABEL = "dplaunch/cluster"
"""On every object of a cluster: its name. ``down`` finds by it what is to be deleted."""
TEMPLATE = "dplaunch/template"
"""Annotation of a pod: a hash of the template that it was made from."""
POD_IP = "POD_IP"
"""The environment variable in which a pod finds its own address."""

Kind = Literal["StatefulSet", "LeaderWorkerSet", "Service"]


class Kubectl(Struct, frozen=True, kw_only=True):
    """How kubectl is called. ``None`` leaves the choice to kubectl."""

    program: str = "kubectl"
    kubeconfig: str | None = None
    """A path on the machine where kubectl runs."""
    context: str | None = None
    namespace: str = "default"

    @property
    def words(self) -> tuple[str, ...]:
        """The words with which every command line begins."""
        config = ("--kubeconfig", self.kubeconfig) if self.kubeconfig else ()
        context = ("--context", self.context) if self.context else ()
        return (self.program, *config, *context, "--namespace", self.namespace)


class Pod(Struct, frozen=True, kw_only=True):
    """The pod that is a node of the plan."""

    name: str
    workload: str
    """The object that makes it."""
    kubectl: Kubectl
    template: str = ""
    """Hash of what it is made from: a pod with another one is replaced before anything starts in it."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that run it inside the pod."""
        return (*self.kubectl.words, "exec", "-i", self.name, "-c", CONTAINER, "--")


class Mount(Struct, frozen=True):
    """A folder or file of the machine, or a claim's volume, inside the pods."""

    path: str
    """In the pod."""
    source: str
    """A path on the machine; the name of a claim where ``claim`` holds."""
    read_only: bool = False
    claim: bool = False


class KubernetesSpec(Struct, frozen=True, kw_only=True):
    """The section ``kubernetes`` of a cluster file."""

    image: str
    package: str | None = None
    """For an engine that makes its own pods: its installation package or folder on the control node."""
    kubectl: Kubectl = Kubectl()
    host: str = "localhost"
    """Where kubectl runs: this machine, or a control node that is reached over SSH."""
    pull: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    resource: str = "huawei.com/Ascend910"
    """What a pod asks for, one for each of its devices."""
    workload: Literal["statefulset", "leaderworkerset"] = "statefulset"
    service: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """The kind of the Service in front of the router."""
    host_network: bool = False
    shm_size: str | None = None
    """Of ``/dev/shm``; None: what the container runtime gives, usually 64 MiB."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """cpu, memory, and further resources, requested and limited alike."""
    service_account: str | None = None
    scheduler: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()


class Manifest(Struct, frozen=True, kw_only=True):
    """One object as it is applied. ``text``: JSON."""

    kind: Kind
    name: str
    text: str
    nodes: tuple[str, ...] = ()
    """The plan's nodes whose pods it makes."""


class KubernetesPlan(Struct, frozen=True, kw_only=True):
    """The objects of a cluster, in the order in which they are applied, and how kubectl is reached."""

    kubectl: Kubectl
    host: str
    image: str
    resource: str
    devices: Mapping[str, int]
    """Node → devices that its pod asks for."""
    manifests: tuple[Manifest, ...]


class Named(Struct, frozen=True):
    """An object by kind, as kubectl takes it, and name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.partition('.')[0]} {self.name}"


class Needs(Struct, frozen=True, kw_only=True):
    """What a cluster must have before an engine's own program can make its pods there."""

    kinds: Mapping[str, str]
    """Kind of object (``queues.scheduling.volcano.sh``) → whose it is."""
    programs: Mapping[str, str]
    """How the names of pods begin that must run, in any namespace → what they are."""
    image: str
    resource: str
    pods: tuple[int, ...]
    """The devices that each pod asks for, one on a machine."""
    labels: Mapping[str, str]
    """Of the machines that may be chosen."""
    modules: tuple[str, ...] = ()
    """Modules of Python that its program needs on the control node."""


class Deployment(Struct, frozen=True, kw_only=True):
    """What an engine's own program makes on Kubernetes, from one control node, and how it is found again."""

    node: str
    process: str
    """The job that runs the program."""
    kubectl: Kubectl
    cluster: str
    digest: str
    """Of all that is deployed: another one is deployed anew."""
    marker: str
    """ConfigMap that says whose the deployment is, and of which digest. It comes first and goes last."""
    selector: str
    """Label of its objects."""
    objects: tuple[Named, ...]
    """What must be there when it is deployed."""
    shapes: Mapping[str, str]
    """Role → what one instance of it is: ``2 pods × 8 devices (dp 2, tp 8)``."""
    further: tuple[Named, ...]
    """What goes too: objects without the label."""
    kinds: str
    """Kinds of the objects that have the label."""
    package: str
    needs: Needs
