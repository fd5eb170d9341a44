"""MindIE's own scripts, stubbed, on a real Kubernetes, from a control node over SSH; everything else is real."""

from pathlib import Path
from zlib import crc32

import ascend
import pytest
from labpods import MOUNTS, follow
from sshd import LoopbackSshd

HERE = Path(__file__).parent
KINDS = f"{ascend.KIND},pods,services,configmaps"

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def space(request):
    """A namespace of the test's own: the one of the test before may still be ending."""
    return f"mindie-{crc32(request.node.name.encode()):x}"


@pytest.fixture
def site(space, run, kubernetes, kubectl, tmp_path, monkeypatch):
    """A control node, the package on it, and cluster.yaml."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ssh").mkdir()
    (tmp_path / "pods").mkdir()
    package = ascend.package(tmp_path / "pods")
    with LoopbackSshd(tmp_path / "ssh", hosts=1) as sshd:
        Path("cluster.yaml").write_text(f"""\
cluster: lab
driver: kubernetes
kubernetes: {{image: "lab.invalid/busybox:1", kubeconfig: {kubernetes}, namespace: {space}, package: {package}}}
engine: {{kind: mindie-motor, version: "2.0.RC1"}}
model: /weights/model
served_model_name: model
hardware: {{devices: 2, family: a2}}
ssh: {{user: {sshd.user}, port: {sshd.port}, key: {sshd.key}, host_keys: accept-new}}
nodes: [{{name: control, host: {sshd.address(1)}}}]
roles:
  prefill: {{nodes: control, groups: 2, dp: 1, tp: 2, args: {{moe_ep: 2}}}}
  decode: {{nodes: control, pods: 2, dp: 4, tp: 1, ep: 4}}
router: {{kind: mindie-motor, port: 31015}}
ready_timeout: 3m
""")
        yield sshd.address(1)
        run("down", "-y", "cluster.yaml")


@pytest.fixture
def prepared(kubectl, site, space, tmp_path):
    """The namespace, the kind, and who makes the pods."""
    kubectl("apply", "-f", str(HERE / "ascendjobs.yaml"))
    kubectl("wait", "--for=condition=Established", f"crd/{ascend.KIND}", "--timeout=30s")
    kubectl("create", "namespace", space)
    mounts = [*MOUNTS, str(tmp_path / "pods")]
    with ascend.operator(kubectl, space, tmp_path / "pods", mounts, site):
        yield
    kubectl("delete", "namespace", space, "--wait=false")


def left(kubectl, space):
    names = kubectl("get", KINDS, "-n", space, "-o", "name").split()
    return [name for name in names if name != "configmap/kube-root-ca.crt"]


def test_what_the_cluster_lacks_is_named(run, site, space):
    found = run("check", "cluster.yaml", code=1).stdout
    for lack in (
        f"there is no namespace {space}",
        "the Ascend Operator is not installed",
        "Volcano is not installed",
        "the Ascend device plugin does not run",
        "module-910b-8",
        "No module named 'ruamel'",
    ):
        assert lack in found


def test_it_is_deployed_serves_loses_an_instance_and_leaves_nothing(run, kubectl, prepared, space):
    run("up", "cluster.yaml")
    assert "serving" in run("status").stdout
    assert "the router answers correctly" in run("test").stdout
    assert "coordinator" in follow("router", "--grep", "MindIE-MS", "-n", "0")
    assert "Daemon start success!" in run("logs", "decode-0", "-n", "0", "--grep", "success").stdout
    kubectl("delete", ascend.KIND, "mindie-server-p1", "-n", space)
    assert "mindie-server-p1 was deleted" in follow("prefill-1", "--grep", "deleted", "-n", "0")
    assert "prefill-1" in run("status", code=5).stdout
    run("up", "-y")
    assert "serving" in run("status").stdout
    assert "nothing is left" in run("down", "-y").stdout
    assert left(kubectl, space) == []


def test_what_the_server_refuses_is_named_although_the_script_ends_well(run, kubectl, prepared, space):
    kubectl("create", "quota", "few", f"--hard=count/{ascend.KIND}=3", "-n", space)
    refused = run("up", "cluster.yaml", code=1).stderr
    assert "mindie-server-" in refused
    assert "exceeded quota: few" in refused
    assert left(kubectl, space) == []
