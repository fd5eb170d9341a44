"""What stands for pods: their logs, their health and their end, from a kubectl that answers by files."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dplaunch.wire.bundle import bundle

KUBECTL = """\
import pathlib, sys, time
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
if words[0] == "get":
    text = (here / "items.json").read_text()
    if text == "refused":
        sys.exit("error: the server is away")
    print(text)
else:
    print("since" if words[-1].startswith("--since") else (here / words[2]).read_text(), flush=True)
    time.sleep(0 if (here / "broken").exists() else 60)
"""


def job(**status):
    return {"kind": "AscendJob", "metadata": {"name": "j"}, "status": status}


def pod(name, state=None, ready=True, restarts=0, **status):
    container = {"name": "c", "restartCount": restarts, "state": state or {"running": {}}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "ownerReferences": [{"name": "j"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [container],
            **status,
        },
    }


class Followed:
    """The program, and the folder that its kubectl reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, *options: str) -> None:
        folder = self.folder
        (folder / "kubectl.py").write_text(KUBECTL)
        (folder / "bundle").write_bytes(bundle().data)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = (folder / "log").open("w")
        words = [
            *("--kind", "ascendjobs.x", "--job", "j", "--pods", "2", "--selector", "a=b", "--marker", "m"),
            *(
                "--deployment",
                "d",
                "--listen",
                f"127.0.0.1:{self.port}",
                "--logs",
                str(folder / "logs"),
                "--every",
                "0.2",
                *options,
            ),
        ]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(folder / "bundle"),
                "pods",
                *words,
                "--",
                sys.executable,
                str(folder / "kubectl.py"),
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def shows(self, *items: dict, digest: str = "d") -> None:
        marker = {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"digest": digest}}
        (self.folder / "new").write_text(json.dumps({"items": [marker, *items]}))
        (self.folder / "new").rename(self.folder / "items.json")

    @property
    def printed(self):
        return (self.folder / "log").read_text()

    def health(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError:
            return 0, ""


@pytest.fixture
def follow(tmp_path):
    made = []

    def begin(*options: str, items=(), digest="d", log="first"):
        followed = Followed(tmp_path)
        (tmp_path / "j-0").write_text(log)
        (tmp_path / "j-1").write_text("second")
        followed.shows(*items, digest=digest)
        followed.begin(*options)
        made.append(followed)
        return followed

    yield begin
    for followed in made:
        followed.process.terminate()
        followed.process.wait()
        followed.log.close()


def test_it_is_ready_when_all_pods_are_and_copies_their_logs(follow, until):
    followed = follow(items=(job(), pod("j-0"), pod("j-1")))
    until(lambda: followed.health() == (200, "ready"))
    until(lambda: "first" in followed.printed)
    until(
        lambda: (
            (followed.folder / "logs" / "j-1.log").exists()
            and (followed.folder / "logs" / "j-1.log").read_text()
        )
    )
    assert "second" not in followed.printed
    followed.process.send_signal(signal.SIGTERM)
    assert followed.process.wait(10) == 0


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ((job(), pod("j-0")), "1 of 2 pods are there"),
        ((job(), pod("j-0"), pod("j-1", ready=False)), "pod j-1: it runs, but is not ready"),
        (
            (job(), pod("j-0", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, ready=False)),
            "pod j-0: ImagePullBackOff: no such image",
        ),
        ((job(), pod("j-0", {"terminated": {"reason": "Error", "exitCode": 3}}, ready=False)), "pod j-0: Error with code 3"),
        (
            (job(), pod("j-0", {}, conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}])),
            "pod j-0: no machine takes it: 0/2 nodes",
        ),
    ],
)  # fmt: skip
def test_what_a_pod_waits_for_is_said(follow, until, items, why):
    followed = follow(items=items)
    assert until(
        lambda: followed.health()[1] not in ("", "it was not looked at yet") and followed.health()
    ) == (503, why)
    assert why in followed.printed


def test_another_deployment_is_not_taken_for_its_own(follow, until):
    followed = follow(items=(job(), pod("j-0"), pod("j-1")), digest="old")
    assert until(lambda: followed.health()[1] == "it is not deployed yet" and followed.health())[0] == 503
    assert "first" not in followed.printed


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ((), "ERROR: ascendjobs j was deleted"),
        ((job(conditions=[{"type": "Failed", "status": "True", "message": "out of devices"}]),), "failed: out of devices"),
    ],
)  # fmt: skip
def test_it_ends_with_its_job(follow, until, items, said):
    followed = follow(items=(job(), pod("j-0"), pod("j-1")))
    until(lambda: followed.health()[0] == 200)
    followed.shows(*items)
    assert followed.process.wait(20) == 1
    assert said in followed.printed


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("loading", (503, "its log does not say yet: open")),
        ("it is closed", (503, "its log says that it is not ready")),
        ("closed no more: open", (200, "ready")),
    ],
)
def test_its_log_decides_too(follow, until, text, health):
    followed = follow(
        "--ready", "open", "--unready", "closed$", items=(job(), pod("j-0"), pod("j-1")), log=text
    )
    until(lambda: text in followed.printed)
    until(lambda: followed.health() == health)


def test_a_kubectl_that_fails_is_reported_and_asked_again(follow, until):
    followed = follow(items=(job(), pod("j-0"), pod("j-1")))
    until(lambda: followed.health()[0] == 200)
    (followed.folder / "items.json").write_text("refused")
    until(lambda: "kubectl: error: the server is away" in followed.printed, 20.0)
    assert followed.process.poll() is None
