"""``runtime.image``: dplaunch starts podman containers on two hosts, and removes them."""

import json
import sys
from pathlib import Path

import pytest
from boxes import IMAGE, LIMITS, MOUNTS, give_podman, leave_no_cgroup, shell
from lab import HOME, Lab, LabHost
from waiting import until

pytestmark = pytest.mark.lab

DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
ARCHIVE = f"{HOME}/images/lab.tar"
CLUSTER = """\
cluster: boxed
engine: {{kind: rehearsal}}
model: vllm-ascend/DeepSeek-R1-W8A8
served_model_name: deepseek_r1
ssh: {{host_keys: accept-new}}
runtime:
  image: {image}
  engine: podman
  python: {python}
  archive: {archive}
  mounts: {mounts}
  args: {args}
nodes:
  - {{name: "n[1-2]", host: "192.0.2.[1-2]"}}
defaults: {{env: {{DPLAUNCH_REHEARSAL_SPEED: 0}}}}
roles:
  prefill: {{nodes: n1, dp: 1}}
  decode: {{nodes: n2, dp: 1}}
router: {{node: n1, port: 8000}}
ready_timeout: 1m
"""
NAMES = {"h1": "dplaunch-boxed-n1", "h2": "dplaunch-boxed-n2"}


class Site:
    """Two hosts with podman, one of them with an archive of the image, and the operator's machine."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = (lab["h1"], lab["h2"])

    def prepare(self) -> None:
        for host in self.hosts:
            give_podman(host)
        shell(self.lab["h1"], f"mkdir -p {HOME}/images && podman save -q -o {ARCHIVE} {IMAGE}")
        key = self.lab.path("~/.ssh/id_ed25519").read_bytes()
        target = self.lab["h2"].path("~/.ssh/id_ed25519")
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(key)
        target.chmod(0o600)

    def file(self, *args: str) -> None:
        mounts = json.dumps([f"{place}:{place}:ro" for place in MOUNTS])
        self.lab.path("~/cluster.yaml").write_text(
            CLUSTER.format(
                image=IMAGE,
                python=sys.executable,
                archive=ARCHIVE,
                mounts=mounts,
                args=json.dumps([*LIMITS, *args]),
            )
        )

    def dplaunch(self, *words: str, code: int = 0):
        argv = ["env", f"DPLAUNCH_CLUSTER={HOME}/cluster.yaml", DPLAUNCH, *words]
        done = self.lab.run(argv, timeout=120)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def containers(self) -> list[str]:
        """Names of all containers, host by host."""
        rows = (shell(host, "podman ps -a --format '{{.Names}}'").split() for host in self.hosts)
        return [name for names in rows for name in names]

    def inside(self, host: LabHost) -> str:
        """What runs in the host's container."""
        return host.run(["podman", "top", NAMES[host.name], "args"]).stdout


@pytest.fixture(scope="module")
def site():
    with Lab(2) as lab:
        site = Site(lab)
        site.prepare()
        yield site
        for host in site.hosts:
            shell(host, "podman rm -f -a -t 0")
        leave_no_cgroup(lab["h1"])


@pytest.fixture
def boxed(site):
    """The site as it was: whatever a test left is removed."""
    yield site
    for host in site.hosts:
        shell(host, "podman rm -f -a -t 0")


def test_containers_come_and_go_with_the_cluster(boxed):
    boxed.file()
    for host in boxed.hosts:
        shell(host, f"podman rmi -f {IMAGE}")
    planned = json.loads(boxed.dplaunch("up", "--dry-run", "-o", "json").stdout)["containers"]
    assert planned == {
        "pulled": [],
        "loaded": ["n1"],
        "copied": ["n2"],
        "started": ["n1", "n2"],
        "replaced": [],
    }
    assert boxed.containers() == []
    launcher = boxed.lab.start(["env", f"DPLAUNCH_CLUSTER={HOME}/cluster.yaml", DPLAUNCH, "up"])
    until(lambda: all("rehearsal vllm" in boxed.inside(host) for host in boxed.hosts), 60)
    launcher.kill()
    launcher.communicate()
    done = json.loads(boxed.dplaunch("up", "-o", "json").stdout)
    assert (done["ready"], done["changed"]) == (True, False)
    assert boxed.containers() == ["dplaunch-boxed-n1", "dplaunch-boxed-n2"]

    shell(boxed.lab["h2"], "podman kill dplaunch-boxed-n2")
    assert "ended with its container" in boxed.dplaunch("status", code=7).stdout
    boxed.file("--env=FLAVOUR=new")
    changed = boxed.dplaunch("up", "--dry-run").stdout
    assert "container.sh on n1" in changed
    assert "+ --env=FLAVOUR=new" in changed
    assert "container: removed and started again on n[1-2]" in changed
    boxed.dplaunch("up", "-y")
    assert boxed.dplaunch("exec", "node:n2", "--", "printenv", "FLAVOUR").stdout.strip().endswith("new")
    boxed.dplaunch("down", "-y")
    assert boxed.containers() == []
    for host in boxed.hosts:
        until(lambda host=host: not [one for one in host.processes() if "vllm" in one.command])


def test_a_container_of_the_same_name_is_never_touched(boxed):
    boxed.file()
    shell(boxed.lab["h2"], f"podman create --name dplaunch-boxed-n2 {IMAGE} true")
    assert "was not started by dplaunch" in boxed.dplaunch("check", code=1).stdout
    said = " ".join(boxed.dplaunch("up", code=1).stderr.split())
    assert "n2: a container dplaunch-boxed-n2 is there already" in said
    assert boxed.containers() == ["dplaunch-boxed-n2"]
    boxed.dplaunch("down", "-y")
    assert boxed.containers() == ["dplaunch-boxed-n2"]


def test_images_that_differ_stop_a_start(boxed):
    boxed.file()
    shell(boxed.lab["h2"], f"podman import -q --message other {HOME}/image.tar {IMAGE}")
    said = " ".join(boxed.dplaunch("up", code=1).stderr.split())
    assert "its image of that name is" in said
    assert boxed.containers() == []
