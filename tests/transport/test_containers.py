"""``runtime.container`` with a stand-in for docker and podman that says what the real ones say."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from dplaunch.errors import HostError
from dplaunch.model.cluster import Container, Image, RuntimeSpec, SshSpec
from dplaunch.model.plan import NodePlan
from dplaunch.transport import Options, connect

STAND_IN = """#!/bin/sh
test "$1 $2" = "exec -i" || exit 64
shift 2
case "$1" in
    up) shift; exec "$@" ;;
    down) echo "Error response from daemon: container 0ab1 is not running" >&2; exit 1 ;;
    paused) echo "Error response from daemon: Container paused is paused, unpause the container before exec" >&2; exit 1 ;;
    failing) echo "Error response from daemon: Container 0ab1 is restarting, wait until the container is running" >&2; exit 1 ;;
    podman-down) echo "Error: can only create exec sessions on running containers: container state improper" >&2; exit 255 ;;
    podman-gone) echo 'Error: no container with name or ID "podman-gone" found: no such container' >&2; exit 125 ;;
    nopython) echo 'OCI runtime exec failed: exec failed: unable to start container process: exec: "python3": executable file not found in $PATH: unknown'; exit 126 ;;
    podman-nopython) echo 'Error: runc: exec failed: unable to start container process: exec: "/py": stat /py: no such file or directory: OCI runtime attempted to invoke a command that was not found' >&2; exit 127 ;;
    denied) echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1 ;;
    stopped) echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1 ;;
    *) echo "Error response from daemon: No such container: $1" >&2; exit 1 ;;
esac
"""


def node(container: str, engine: str = "docker") -> NodePlan:
    return NodePlan(
        name="n1",
        host="localhost",
        address="127.0.0.1",
        ssh=SshSpec(),
        runtime=RuntimeSpec(),
        files=(),
        processes=(),
        container=Container(container, engine),
    )


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_commands_run_inside(engines):
    host = connect(node("up"), options=Options())
    assert list(host.stream(["sh", "-c", "echo $0 $1", "a b", "c"]).lines()) == [b"a b c"]
    stream = host.stream(["cat"])
    stream.send(b"line\n")
    assert next(stream.lines()) == b"line"
    host.close()


@pytest.mark.parametrize(
    ("container", "engine", "text", "hint"),
    [
        ("gone", "docker", "n1 (this machine) has no container named gone", "docker run -d --name gone"),
        ("down", "docker", "container down on n1 (this machine) does not run", "docker start down"),
        ("podman-gone", "podman", "n1 (this machine) has no container named podman-gone", "podman run -d"),
        ("podman-down", "podman", "container podman-down on n1 (this machine) does not run", "podman start"),
        (
            "nopython",
            "docker",
            "container nopython on n1 (this machine) cannot run python3",
            "install Python 3.8",
        ),
        (
            "podman-nopython",
            "podman",
            "container podman-nopython on n1 (this machine) cannot run python3",
            "or correct runtime.python; `podman exec podman-nopython python3",
        ),
        ("paused", "docker", "container paused on n1 (this machine) is paused", "docker unpause paused"),
        ("failing", "docker", "container failing on n1 (this machine) is restarting", "docker logs failing"),
        ("stopped", "docker", "the user of n1 (this machine) may not use docker", "start docker there"),
        ("denied", "docker", "the user of n1 (this machine) may not use docker", "`docker ps` must work"),
    ],
)
def test_what_is_wrong_with_a_container_is_a_sentence(engines, container, engine, text, hint):
    host = connect(node(container, engine), options=Options())
    with pytest.raises(HostError) as caught:
        list(host.stream(["python3"]).lines())
    assert caught.value.text == text
    assert hint in caught.value.hint


@pytest.mark.parametrize("code", [1, 137])
def test_a_session_that_fails_inside_is_not_the_containers_fault(engines, code):
    host = connect(node("up"), options=Options())
    with pytest.raises(HostError, match=rf"the session in container up on n1 .* ended with exit code {code}"):
        list(host.stream(["sh", "-c", f"exit {code}"]).lines())


INSPECTING = """#!/bin/sh
case "$1 $2" in
    "container inspect") [ "$5" = box ] && echo "$STATE" || exit 1 ;;
    "exec -i") shift 3; echo inside; exec "$@" ;;
esac
"""


@pytest.mark.parametrize(
    ("state", "where"),
    [("true c/n1", "inside"), ("false c/n1", "outside"), ("true c/n2", "outside"), ("true ", "outside")],
)
def test_a_session_runs_in_a_container_of_ours_that_runs_and_else_on_the_machine(
    tmp_path, monkeypatch, state, where
):
    (tmp_path / "docker").write_text(INSPECTING)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "python3").write_text("#!/bin/sh\necho outside\n")
    (tmp_path / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("STATE", state)
    ours = replace(node("box"), container=Container("box", "docker", Image(reference="x"), "c/n1"))
    host = connect(ours, options=Options())
    first, *_ = host.stream(["true", "-c", "1"]).lines()
    assert first.decode() == where
    host.close()


def test_no_container_engine_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="has no podman in a non-login shell's PATH"):
        connect(node("up", "podman"), options=Options()).stream(["true"])
