"""vLLM's form with rehearsal engines in real pods of a real Kubernetes; `make test-kubernetes` runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner
from waiting import until

from dplaunch.cli.app import app

HERE = Path(__file__).parent
LAB = Path(os.environ.get("DPLAUNCH_KUBERNETES", Path.home() / ".cache" / "dplaunch-kubernetes"))
PREFIXES = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()} - {Path("/usr")}
"""Where this Python lies: the pods run the router in it."""

pytestmark = pytest.mark.kubernetes


def file(image: str = "lab.invalid/busybox:1", devices: int = 2) -> str:
    mounts = {"/usr", "/lib", "/lib64", *map(str, PREFIXES)}
    return f"""\
cluster: lab
driver: kubernetes
kubernetes:
  image: {image}
  pull: Never
  kubeconfig: {LAB}/run/kubeconfig
  mounts: {{{", ".join(f'"{path}": "{path}:ro"' for path in sorted(mounts))}}}
engine: {{kind: rehearsal}}
model: test/model
hardware: {{devices: {devices}, family: a2}}
runtime: {{python: {sys.prefix}/bin/python}}
nodes: [{{name: p}}, {{name: "d[1-2]"}}, {{name: front, devices: 0}}]
roles: {{prefill: {{nodes: p, dp: 2}}, decode: {{nodes: "d[1-2]", dp: 4}}}}
router: {{node: front}}
"""


@pytest.fixture(scope="module", autouse=True)
def kubernetes():
    if not (LAB / "bin" / "kubelet").exists():
        pytest.skip(f"{LAB}/bin has no Kubernetes; `make test-kubernetes` builds it")
    subprocess.run(["bash", HERE / "cluster.sh", "up", LAB], check=True, timeout=180)
    yield
    subprocess.run(["bash", HERE / "cluster.sh", "down", LAB], check=True, timeout=180)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")

    def make(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert result.exit_code == code, f"{words}: exit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    (tmp_path / "cluster.yaml").write_text(file())
    yield make
    CliRunner().invoke(app, ["down", "-y", "cluster.yaml"])


def kubectl(*words: str) -> str:
    argv = ["kubectl", "--kubeconfig", f"{LAB}/run/kubeconfig", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_cluster_serves_loses_a_pod_and_leaves_nothing(run):
    assert "can take a pod of 2" in run("check", "-v", "cluster.yaml").stdout
    run("up", "cluster.yaml")
    assert "serving" in run("status").stdout
    run("test")
    assert "startup complete" in run("logs", "decode-3", "--grep", "startup complete").stdout
    kubectl("delete", "pod", "lab-decode-1", "--grace-period=1")
    until(lambda: "Running" in kubectl("get", "pod", "lab-decode-1", "--ignore-not-found"), 60.0)
    assert "decode-[2-3]" in run("status", code=7).stdout
    run("up", "-y")
    assert "serving" in run("status").stdout
    assert "nothing is left" in run("down", "-y").stdout
    assert kubectl("get", "pods,statefulsets,services", "-l", "dplaunch/cluster=lab", "-o", "name") == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "NOT:an:image"}, "InvalidImageName"),
        ({"devices": 16}, "Insufficient huawei.com/Ascend910"),
    ],
)
def test_a_pod_that_cannot_run_says_why(run, wrong, said):
    Path("cluster.yaml").write_text(file(**wrong))
    refused = run("up", "cluster.yaml", code=3).stderr
    assert "pod lab-" in refused
    assert said in refused


def test_an_object_that_the_server_refuses_is_named(run):
    Path("cluster.yaml").write_text(
        file().replace("pull: Never", "pull: Never\n  labels: {app: 'not a label!'}")
    )
    refused = run("up", "cluster.yaml", code=1).stderr
    assert "StatefulSet lab-prefill" in refused
    assert "not a label!" in refused
