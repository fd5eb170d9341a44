"""Verbs on pods, with a kubectl whose cluster is a folder: the walks are those of machines."""

import os
import sys

import kubestub
import pytest

pytestmark = pytest.mark.whole

NUMBER = os.getpid()
NAME = f"k{NUMBER}"
ADDRESSES = [f"127.10.{NUMBER // 80 % 250}.{NUMBER % 80 * 3 + last}" for last in (1, 2, 3)]
PODS = (f"{NAME}-prefill-0", f"{NAME}-decode-0", f"{NAME}-router-0")


class Kube:
    """A cluster file, and the cluster behind its kubectl."""

    def __init__(self, cli, program) -> None:
        self.cli = cli
        self.cluster = kubestub.Cluster(program.parent)
        self._program = program

    def write(self, image: str = "engine:1", more: str = "") -> None:
        nodes = "".join(
            f"  - {{name: {name}, address: {address}, devices: {devices}}}\n"
            for name, address, devices in zip(("p", "d", "front"), ADDRESSES, (1, 1, 0), strict=True)
        )
        self.cli.write(
            "cluster.yaml",
            f"cluster: {NAME}\ndriver: kubernetes\nengine: {{kind: rehearsal}}\nmodel: test/model\n"
            f"runtime: {{python: {sys.executable}}}\n"
            f"hardware: {{devices: 1, family: a2}}\nnodes:\n{nodes}"
            f"kubernetes: {{image: '{image}', kubectl: {self._program}{more}}}\n"
            "roles: {prefill: {nodes: p}, decode: {nodes: d}}\n"
            f"router: {{node: front, port: {20000 + NUMBER % 2000}}}\n",
        )

    def delete(self, pod: str) -> None:
        self.cluster.delete("pods", pod)


@pytest.fixture
def kube(cli, tmp_path):
    made = Kube(cli, kubestub.install(tmp_path / "kube", dict(zip(PODS, ADDRESSES, strict=True))))
    made.write()
    yield made
    for pod in PODS:
        made.delete(pod)


def test_pods_are_made_used_and_deleted(kube):
    assert kube.cli.json("up", "--dry-run")["actions"]
    assert kube.cluster.objects() == []
    assert kube.cli.json("status", code=1)["state"] == "down"
    assert kube.cli.json("up")["ready"]
    names = {f"{one['kind']} {one['metadata']['name']}" for one in kube.cluster.objects()}
    sets = {f"StatefulSet {pod.removesuffix('-0')}" for pod in PODS}
    assert names == sets | {f"Service {NAME}", f"Service {NAME}-router"}
    kube.cli("test")
    assert "startup complete" in kube.cli("logs", "decode-0", "--grep", "startup complete").stdout
    assert "API server v1.33.0 answers" in kube.cli("check", "-v").stdout
    assert "nothing is left" in kube.cli("down", "-y").stdout
    assert kube.cluster.objects() == []


def test_up_starts_in_a_pod_that_was_lost_and_replaces_those_of_another_image(kube):
    kube.cli("up")
    kube.delete(PODS[1])
    assert kube.cli.json("status", code=7)["state"] == "outage"
    before = {pod["metadata"]["uid"] for pod in kube.cluster.pods()}
    kube.write(image="engine:2")
    assert kube.cli.json("up", "-y")["ready"]
    assert not before & {pod["metadata"]["uid"] for pod in kube.cluster.pods()}
    assert kube.cli.json("status")["state"] == "serving"


def test_an_object_that_is_refused_is_named(kube):
    kube.write(image="refused")
    refused = kube.cli("up", code=1)
    assert f"StatefulSet {NAME}-prefill" in refused.stderr
    assert "Invalid value" in refused.stderr
    assert "nothing runs" in kube.cli("down", "-y").stdout
    assert kube.cluster.objects() == []
