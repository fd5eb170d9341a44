"""The section ``kubernetes`` of the cluster file as a model."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from dplaunch.spec.section import Section
from dplaunch.spec.values import Folder, Text, Word, checked

DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|k|[KMGTPE]i?)?")

DnsLabel = Annotated[
    str, AfterValidator(checked(DNS_LABEL, "must be lower-case letters, digits and dashes, 63 at most"))
]
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    AfterValidator(checked(_QUANTITY, "is not a quantity of Kubernetes", "write 32, 500m, 64Gi or 1.5T")),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]


class Kubernetes(Section):
    """How nodes are made as pods, and how kubectl is reached."""

    image: Text
    package: Folder | None = None
    namespace: DnsLabel = "default"
    context: Word | None = None
    kubeconfig: Text | None = None
    kubectl: Text = "kubectl"
    host: Word = "localhost"
    pull: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: list[DnsLabel] = Field(default_factory=list)
    resource: Word = "huawei.com/Ascend910"
    workload: Literal["statefulset", "leaderworkerset"] = "statefulset"
    service: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    host_network: bool = False
    shm_size: Quantity | None = None
    requests: dict[Word, Quantity] = Field(default_factory=dict)
    service_account: DnsLabel | None = None
    scheduler: DnsLabel | None = None
    node_selector: dict[Word, Text] = Field(default_factory=dict)
    labels: dict[Word, Text] = Field(default_factory=dict)
    annotations: dict[Word, Text] = Field(default_factory=dict)
    mounts: dict[Folder, Text] = Field(default_factory=dict)
