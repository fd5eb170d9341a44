"""What is applied to Kubernetes: every object as it is sent, in files that ``pytest --accept`` writes."""

import json
from pathlib import Path

import pytest

from dplaunch.plan import build
from dplaunch.spec import load

FILE = """\
cluster: c
driver: kubernetes
kubernetes:
  image: engines:1
  namespace: inference
  workload: %s
  service: NodePort
  pull: Always
  pull_secrets: [registry]
  service_account: engines
  scheduler: volcano
  host_network: true
  shm_size: 64Gi
  requests: {cpu: 32, memory: 512Gi}
  node_selector: {accelerator-type: module-a3-16}
  labels: {ring-controller.atlas: ascend-910b}
  annotations: {huawei.com/schedule_policy: chip2-node16}
  mounts:
    /data: claim:weights:ro
    /etc/hccn.conf: /etc/hccn.conf:ro
engine: {kind: rehearsal}
model: m
hardware: {devices: 16, family: a3}
nodes: [{name: "p[1-2]"}, {name: "d[1-4]", devices: 8}, {name: front, devices: 0}]
roles:
  prefill: {nodes: "p[1-2]", groups: 2}
  decode: {nodes: "d[1-4]", groups: 2, dp: 4}
router: {node: front}
"""


def planned(workload: str):
    return build(load(FILE % workload, "cluster.yaml", read_file=lambda _: None).spec)


@pytest.mark.parametrize("workload", ["statefulset", "leaderworkerset"])
def test_objects_are_sent_as_their_file_has_them(expect, workload):
    objects = planned(workload).kubernetes
    text = "".join(
        f"# {one.kind} {one.name}: {', '.join(one.nodes)}\n{one.text}" for one in objects.manifests
    )
    expect(Path(__file__).parent / "objects" / f"{workload}.txt", text)


@pytest.mark.parametrize("workload", ["statefulset", "leaderworkerset"])
def test_a_pod_is_known_by_the_template_of_its_object(workload):
    plan = planned(workload)
    stamps = {}
    for one in plan.kubernetes.manifests:
        spec = json.loads(one.text)["spec"]
        template = spec.get("template") or spec.get("leaderWorkerTemplate", {}).get("workerTemplate")
        if template:
            stamps[one.name] = template["metadata"]["annotations"]["dplaunch/template"]
    assert [stamps[node.pod.workload] for node in plan.nodes] == [node.pod.template for node in plan.nodes]
    assert len(set(stamps.values())) == 3
