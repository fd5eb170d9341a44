"""``runtime.container``: engines, guards, sessions, state and logs inside a podman container, here and over SSH."""

import json
import sys
from pathlib import Path

import pytest
from boxes import IMAGE, LIMITS, MOUNTS, give_podman, leave_no_cgroup, shell
from lab import HOME, Lab
from waiting import until

pytestmark = pytest.mark.lab

DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
RUN = f"podman run -d --name box --network host {' '.join(LIMITS)}"
CLUSTER = """\
cluster: boxed
engine: {{kind: rehearsal}}
model: vllm-ascend/DeepSeek-R1-W8A8
served_model_name: deepseek_r1
runtime: {{container: {container}, engine: podman, python: {python}}}
nodes:
  - {{name: n1, host: {host}}}
defaults: {{env: {{DPLAUNCH_REHEARSAL_SPEED: 0}}}}
roles:
  prefill: {{nodes: n1, dp: 1}}
  decode: {{nodes: n1, dp: 2}}
router: {{node: n1, port: 8000}}
ready_timeout: 1m
"""
HOSTS = {"here": "localhost", "ssh": "192.0.2.1"}


class Box:
    """The container on h1, and dplaunch at h1's console (``here``) or on the operator's machine (``ssh``)."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host = lab["h1"]

    def sh(self, command: str, code: int = 0) -> str:
        return shell(self.host, command, code)

    def run(self) -> None:
        mounts = " ".join(f"-v {place}:{place}:ro" for place in MOUNTS)
        self.sh(f"{RUN} {mounts} {IMAGE} sleep infinity")

    def remove(self) -> None:
        self.sh("podman rm -f -t 0 box")

    def file(self, way: str, container: str = "box") -> None:
        text = CLUSTER.format(container=container, python=sys.executable, host=HOSTS[way])
        (self.host if way == "here" else self.lab).path("~/cluster.yaml").write_text(text)

    def dplaunch(self, way: str, *words: str, code: int = 0, env: tuple[str, ...] = ()):
        side = self.host if way == "here" else self.lab
        argv = ["env", f"DPLAUNCH_CLUSTER={HOME}/cluster.yaml", *env, DPLAUNCH, *words]
        done = side.run(argv, timeout=120)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def inside(self) -> list[str]:
        """What lives in the container beside its first process."""
        rows = [row.split(None, 2) for row in self.sh("podman top box pid state args").splitlines()[1:]]
        return [args for pid, state, args in rows if pid != "1" and state not in ("Z", "X")]

    def sessions(self) -> list[str]:
        """What a verb has on the host while it works."""
        marks = ("json.loads(i.readline())", "--exec-attach")
        return [one.command for one in self.host.processes() if any(mark in one.command for mark in marks)]


@pytest.fixture(scope="module")
def machine():
    with Lab(1) as lab:
        box = Box(lab)
        give_podman(lab["h1"])
        yield box
        leave_no_cgroup(lab["h1"])


@pytest.fixture
def box(machine):
    machine.run()
    yield machine
    machine.remove()


@pytest.mark.parametrize("way", HOSTS)
def test_everything_happens_inside_and_nothing_is_left(box, way):
    box.file(way)
    assert json.loads(box.dplaunch(way, "up", "-o", "json").stdout)["ready"]
    seen = json.loads(box.dplaunch(way, "status", "-o", "json").stdout)
    assert (seen["state"], len(seen["processes"])) == ("serving", 4)
    assert sum("rehearsal vllm" in command for command in box.inside()) == 3
    assert sum("-m dprouter" in command for command in box.inside()) == 2  # a parent and its worker
    assert not box.sh(f"find {HOME}/.local/state -name state.json 2> /dev/null || true")
    assert "Application startup complete" in box.dplaunch(way, "logs", "decode-1", "-n", "0").stdout
    assert "sleep" in box.dplaunch(way, "exec", "node:n1", "--", "cat", "/proc/1/comm").stdout
    assert not json.loads(box.dplaunch(way, "up", "-o", "json").stdout)["changed"]
    until(lambda: not box.sessions())
    box.dplaunch(way, "down", "-y")
    until(lambda: not box.inside())
    until(lambda: not box.sessions())
    assert box.dplaunch(way, "status", code=1)


@pytest.mark.parametrize("way", HOSTS)
def test_a_container_stopped_under_its_engines_takes_them_along(box, way):
    box.file(way)
    box.dplaunch(way, "up")
    box.sh("podman stop -t 0 box")
    for words in (["up"], ["status"], ["down", "-y"]):
        done = box.dplaunch(way, *words, code=3)
        said = " ".join((done.stdout + done.stderr).split())
        assert "container box on n1" in said
        assert "does not run" in said
        assert "`podman start box`" in said
    box.sh("podman start box")
    seen = json.loads(box.dplaunch(way, "status", "-o", "json", code=1).stdout)
    assert {process["state"] for process in seen["processes"]} == {"exited"}
    assert json.loads(box.dplaunch(way, "up", "-o", "json").stdout)["changed"]
    box.dplaunch(way, "down", "-y")
    until(lambda: not box.inside())


@pytest.mark.parametrize("way", HOSTS)
def test_no_such_container_is_a_sentence(machine, way):
    machine.file(way, container="elsewhere")
    said = machine.dplaunch(way, "up", code=3).stderr
    assert "has no container named elsewhere" in said
    assert "podman run -d --name elsewhere" in said


def test_no_container_engine_is_a_sentence(machine):
    machine.file("here")
    said = machine.dplaunch("here", "status", code=3, env=("PATH=/nowhere",)).stdout
    assert "n1 (this machine) has no podman" in said


def test_a_launcher_killed_leaves_the_engines_and_no_session(box):
    box.file("ssh")
    box.dplaunch("ssh", "up")
    before = sorted(box.inside())
    follow = box.lab.start([DPLAUNCH, "logs", "router", "-f", "-n", "1"])
    assert follow.stdout.readline()
    assert box.sessions()
    assert len(box.inside()) == len(before) + 1
    follow.kill()
    follow.communicate()
    until(lambda: not box.sessions())
    until(lambda: sorted(box.inside()) == before)
    box.dplaunch("ssh", "status")
    box.dplaunch("ssh", "down", "-y")
