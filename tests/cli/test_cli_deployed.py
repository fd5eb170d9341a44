"""Verbs on what an engine's own program deploys: its script and the cluster behind kubectl are stand-ins."""

import json
import os
import signal
from pathlib import Path

import pytest

from dplaunch.render import clusters_root

pytestmark = pytest.mark.whole

NAME = f"t{os.getpid()}-deepseek-mindie"


class Site:
    """The example, smaller, on this machine; and the cluster that its stand-in keeps in a folder."""

    def __init__(self, cli, state_home) -> None:
        self.cli = cli
        self.folder = state_home / "dplaunch" / f"{NAME}.rehearsal" / "control" / "kubernetes"

    def write(self, more="") -> None:
        text = (clusters_root() / "deepseek-r1-mindie-motor.yaml").read_text()
        for old, new in (
            ("cluster: ", f"cluster: t{os.getpid()}-"),
            ("groups: 4", "groups: 1"),
            ("pods: 8", "pods: 2"),
            ("dp: 64", "dp: 16"),
            ("ep: 64", "ep: 16"),
            ("port: 31015", f"port: {30000 + os.getpid() % 2000}"),
        ):
            text = text.replace(old, new, 1)
        node = f"host: 192.0.2.1, env: {{{more}}}}}"
        self.cli.write("cluster.yaml", text.replace("host: 192.0.2.1}", node))

    def put(self, kind, name, data) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        item = {"kind": kind, "metadata": {"name": name, "labels": {"jobID": "mindie"}}, "data": data}
        (self.folder / f"{kind.lower()}.{name}.json").write_text(json.dumps(item))

    def delete(self, name) -> None:
        (self.folder / f"{name}.json").unlink()

    @property
    def objects(self):
        return sorted(path.name.removesuffix(".json") for path in self.folder.glob("*.json"))


@pytest.fixture
def site(cli, state_home):
    found = Site(cli, state_home)
    found.write()
    return found


def test_it_is_deployed_used_deployed_anew_and_deleted(site, until):
    cli = site.cli
    assert cli.json("up", "--rehearse")["ready"]
    assert cli.json("status")["state"] == "serving"
    assert "the router answers correctly" in cli("test").stdout
    assert "ready!!!" in cli("logs", "router", "--grep", "ready").stdout
    assert not cli.json("up")["changed"]
    made = (site.folder / "configmap.dplaunch-deployment.json").read_text()
    decode = next(one for one in cli.json("status")["processes"] if one["name"] == "decode-0")
    os.kill(decode["pid"], signal.SIGKILL)
    until((Path(decode["log"]).parent / "exit.json").exists, 20.0)
    assert cli.json("up", "-y")["ready"]
    assert (site.folder / "configmap.dplaunch-deployment.json").read_text() == made
    site.delete("ascendjob.mindie-server-p0")
    until(lambda: "was deleted" in cli("logs", "prefill-0", "-n", "0").stdout, 20.0)
    assert cli.json("status", code=7)["state"] == "outage"
    assert {one["change"] for one in cli.json("up", "--dry-run")["actions"]} <= {"start", "restart"}
    assert cli.json("up", "-y")["ready"]
    digest = json.loads((site.folder / "configmap.dplaunch-deployment.json").read_text())["data"]["digest"]
    assert cli.json("plan", "--rehearse", "cluster.yaml")["deployment"]["digest"] == digest
    assert "ascendjob.mindie-server-p0" in site.objects
    assert "nothing is left" in cli("down", "-y").stdout
    assert site.objects == []


def test_what_kubectl_refuses_is_named_although_the_script_ends_well(site):
    site.write("DPLAUNCH_REHEARSAL_REFUSE: mindie-server-p0-config")
    refused = site.cli("up", "--rehearse", code=1).stderr
    assert 'configmaps "mindie-server-p0-config" is forbidden: exceeded quota' in refused
    assert site.objects == []


@pytest.mark.parametrize(
    ("kind", "name", "data", "said"),
    [
        (
            "ConfigMap",
            "dplaunch-deployment",
            {"cluster": "other", "digest": "d"},
            "the deployment of cluster other",
        ),
        ("Service", "mindie-ms-coordinator-infer", {}, "which dplaunch did not make"),
    ],
)
def test_what_others_have_deployed_stays(site, kind, name, data, said):
    site.put(kind, name, data)
    assert said in site.cli("up", "--rehearse", code=1).stderr
    site.cli("down", "-y")
    assert [one.partition(".")[2] for one in site.objects] == [name]
