"""Verbs on pods, with a kubectl whose cluster is a folder: the walks are those of machines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import kubestub
import pytest

pytestmark = pytest.mark.whole

NUMBER = os.getpid()
NAME = f"k{NUMBER}"
ADDRESSES = [f"127.10.{NUMBER // 80 % 250}.{NUMBER % 80 * 3 + last}" for last in (1, 2, 3)]
PODS = (f"{NAME}-prefill-0", f"{NAME}-decode-0", f"{NAME}-router-0")
DPLAUNCH = Path(sys.executable).parent / "dplaunch"


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
def kube(cli, tmp_path, lib):
    made = Kube(cli, kubestub.install(tmp_path / "kube", dict(zip(PODS, ADDRESSES, strict=True)), lib))
    made.write()
    yield made
    for pod in PODS:
        made.delete(pod)


def follow(*words: str) -> str:
    """The first line of a followed log, once it has ended on Ctrl-C."""
    with subprocess.Popen(
        [DPLAUNCH, "logs", *words, "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        line = run.stdout.readline()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=20)
    assert run.returncode == 130
    return line


def test_pods_are_made_used_lost_replaced_and_deleted(kube):
    assert kube.cli.json("up", "--dry-run")["actions"]
    assert kube.cluster.objects() == []
    assert kube.cli.json("status", code=1)["state"] == "down"
    assert kube.cli.json("up")["ready"]
    names = {f"{one['kind']} {one['metadata']['name']}" for one in kube.cluster.objects()}
    sets = {f"StatefulSet {pod.removesuffix('-0')}" for pod in PODS}
    assert names == sets | {f"Service {NAME}", f"Service {NAME}-router"}
    kube.cli("test")
    assert "API server v1.33.0 answers" in kube.cli("check", "-v").stdout
    assert "startup complete" in kube.cli("logs", "decode-0", "--grep", "startup complete").stdout
    assert "startup complete" in follow("decode-0", "--grep", "startup complete")
    kube.delete(PODS[1])
    lost = kube.cli.json("status", code=7)
    assert (lost["state"], "decode-0" in lost["cause"]["text"]) == ("outage", True)
    before = {pod["metadata"]["uid"] for pod in kube.cluster.pods()}
    kube.write(image="engine:2")
    assert kube.cli.json("up", "-y")["ready"]
    assert not before & {pod["metadata"]["uid"] for pod in kube.cluster.pods()}
    assert kube.cli.json("status")["state"] == "serving"
    assert "nothing is left" in kube.cli("down", "-y").stdout
    assert kube.cluster.objects() == []


@pytest.mark.parametrize(
    ("image", "code", "said"),
    [
        ("refused", 1, (f"StatefulSet {NAME}-prefill", "Invalid value")),
        ("missing", 3, (f"pod {PODS[0]} does not run: ImagePullBackOff", "dplaunch down")),
    ],
)
def test_what_keeps_pods_from_running_is_named_and_down_leaves_nothing(kube, image, code, said):
    kube.write(image=image)
    error = kube.cli("up", code=code).stderr
    assert all(one in error for one in said), error
    assert "nothing runs" in kube.cli("down", "-y").stdout
    assert kube.cluster.objects() == []
