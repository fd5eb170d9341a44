"""vLLM's form with rehearsal engines in real pods of a real Kubernetes; `make test-kubernetes` runs it."""

import sys
from pathlib import Path

import pytest
from labpods import MOUNTS, follow
from leaders import operator
from waiting import until

HERE = Path(__file__).parent

pytestmark = pytest.mark.kubernetes


@pytest.fixture(autouse=True)
def write(run, kubernetes):
    """``write(image=…)``: cluster.yaml with these values; a good one is there from the start."""
    mounts = ", ".join(f'"{path}": "{path}:ro"' for path in MOUNTS)

    def make(image="lab.invalid/busybox:1", devices=2, more="service: ClusterIP"):
        text = f"""\
cluster: lab
driver: kubernetes
kubernetes:
  image: {image}
  pull: Never
  kubeconfig: {kubernetes}
  mounts: {{{mounts}}}
  {more}
engine: {{kind: rehearsal}}
model: test/model
hardware: {{devices: {devices}, family: a2}}
runtime: {{python: {sys.prefix}/bin/python}}
nodes: [{{name: p}}, {{name: "d[1-2]"}}, {{name: front, devices: 0}}]
roles: {{prefill: {{nodes: p, dp: 2}}, decode: {{nodes: "d[1-2]", dp: 4}}}}
router: {{node: front}}
"""
        Path("cluster.yaml").write_text(text)

    make()
    return make


def left(kubectl, kinds="pods,statefulsets,services"):
    return kubectl("get", kinds, "-l", "dplaunch/cluster=lab", "-o", "name")


def test_a_cluster_serves_loses_a_pod_and_leaves_nothing(run, kubectl):
    assert "can take a pod of 2" in run("check", "-v", "cluster.yaml").stdout
    run("up", "cluster.yaml")
    assert "serving" in run("status").stdout
    run("test")
    assert "startup complete" in run("logs", "decode-3", "--grep", "startup complete").stdout
    assert "startup complete" in follow("decode-3", "--grep", "startup complete")
    kubectl("delete", "pod", "lab-decode-1", "--grace-period=1")
    until(lambda: "Running" in kubectl("get", "pod", "lab-decode-1", "--ignore-not-found"), 60.0)
    assert "decode-[2-3]" in run("status", code=7).stdout
    run("up", "-y")
    assert "serving" in run("status").stdout
    assert "nothing is left" in run("down", "-y").stdout
    assert left(kubectl) == ""


def test_groups_are_the_replicas_of_a_leaderworkerset(run, kubectl, write):
    write(more="workload: leaderworkerset")
    assert "LeaderWorkerSet is not installed" in run("check", "cluster.yaml", code=1).stdout
    kubectl("apply", "--server-side", "-f", str(HERE / "leaderworkersets.yaml"))
    kubectl("wait", "--for=condition=Established", "crd/leaderworkersets.leaderworkerset.x-k8s.io")
    run("check", "cluster.yaml")
    with operator(kubectl):
        run("up", "cluster.yaml")
        assert left(kubectl, "pods").split() == [
            f"pod/lab-{name}" for name in ("decode-0", "decode-0-1", "prefill-0", "router-0")
        ]
        run("test")
        assert "serving" in run("status").stdout
        assert "nothing is left" in run("down", "-y").stdout
    assert left(kubectl, "pods,statefulsets,services,leaderworkersets") == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "NOT:an:image"}, "InvalidImageName"),
        ({"devices": 16}, "Insufficient huawei.com/Ascend910"),
    ],
)
def test_a_pod_that_cannot_run_says_why(run, write, wrong, said):
    write(**wrong)
    refused = run("up", "cluster.yaml", code=3).stderr
    assert "pod lab-" in refused
    assert said in refused


def test_pods_of_an_image_that_is_not_there_are_made_anew_once_the_file_is_corrected(run, write):
    write(image="lab.invalid/nothing:1")
    assert "ErrImageNeverPull" in run("up", "cluster.yaml", code=3).stderr
    write()
    run("up", "cluster.yaml")
    assert "nothing is left" in run("down", "-y").stdout


def test_an_object_that_the_server_refuses_is_named(run, write):
    write(more="labels: {app: 'not a label!'}")
    refused = run("up", "cluster.yaml", code=1).stderr
    assert "StatefulSet lab-prefill" in refused
    assert "not a label!" in refused
