"""The section ``kubernetes`` of the cluster file as a model."""

from typing import Literal

from pydantic import Field

from dplaunch.spec import values
from dplaunch.spec.section import Section
from dplaunch.spec.values import Text, Word


class Kubernetes(Section):
    """How nodes are made as pods, and how kubectl is reached."""

    image: Text
    namespace: values.DnsLabel = "default"
    context: Word | None = None
    kubeconfig: Text | None = None
    kubectl: Text = "kubectl"
    host: Word = "localhost"
    pull: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: list[values.DnsLabel] = Field(default_factory=list)
    resource: Word = "huawei.com/Ascend910"
    workload: Literal["statefulset", "leaderworkerset"] = "statefulset"
    service: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    host_network: bool = False
    shm_size: values.Quantity | None = None
    requests: dict[Word, values.Quantity] = Field(default_factory=dict)
    service_account: values.DnsLabel | None = None
    scheduler: values.DnsLabel | None = None
    node_selector: dict[Word, Text] = Field(default_factory=dict)
    labels: dict[Word, Text] = Field(default_factory=dict)
    annotations: dict[Word, Text] = Field(default_factory=dict)
    mounts: dict[values.Folder, Text] = Field(default_factory=dict)
