"""A disk that is full or may not be written: said clearly, and nothing that runs is lost by it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = os.getuid() == 0
LIMITED = ["prlimit", "--fsize=600"]


def test_a_file_size_limit_reads_as_full(clients):
    client = clients(prefix=LIMITED)
    refused = client.ask("put", files=[{"path": "big.sh", "text": "x" * 5000}])
    assert refused["error"]["kind"] == "full"
    assert "big.sh" in refused["error"]["text"]
    assert "df -h" in refused["error"]["hint"]
    assert list(client.root.rglob("*big*")) == []
    assert client.ask("observe")["ok"]


def test_a_start_that_cannot_be_written_down_starts_nothing(clients, spec, tmp_path):
    client = clients(prefix=LIMITED)
    mark = tmp_path / "ran"
    (result,) = client.start(spec("e-0", "touch", str(mark), meta={"note": "y" * 700}))
    assert result["error"]["kind"] == "full"
    assert client.observe("e-0") is None
    assert not mark.exists()


@pytest.fixture
def unwritable(tmp_path):
    """A state home that cannot be written, whoever we are."""
    home = tmp_path / "home"
    home.mkdir()
    if ROOT:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", home], check=True)
        yield home
        subprocess.run(["umount", "-l", home], check=True)
    else:
        home.chmod(0o500)
        yield home
        home.chmod(0o700)


def test_a_read_only_state_home_is_told_at_once_and_observe_works(clients, spec, unwritable):
    client = clients(state=unwritable)
    assert client.hello["writable"] is False
    assert str(unwritable) in client.hello["problem"]
    assert client.ask("observe")["processes"] == []
    for reply in (
        client.ask("put", files=[{"path": "a", "text": ""}]),
        client.ask("lock", holder="anna", what="up"),
        client.ask("audit", append={"verb": "up"}),
        client.start(spec("e-0", "true"))[0],
    ):
        assert reply["error"]["kind"] == "read-only", reply
    assert client.stop("e-0")[0]["how"] == "was not running"


@pytest.fixture
def small(tmp_path):
    """A state home of 256 KiB, or, where we may not mount, a folder with a stand-in for ``fill``."""
    home = tmp_path / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", home], check=True)
    yield home
    subprocess.run(["umount", "-l", home], check=True)


def fill(home):
    with (home / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"b" * 512)
        except OSError:
            return


if ROOT:  # mounting is root's; the limits above cover the messages for everybody

    def test_a_full_disk_keeps_the_guard_and_its_exit(clients, spec, until, small, living):
        client = clients(state=small)
        results = client.start(
            spec("e-0", "sh", "-c", "sleep 0.3; exit 5"),
            spec("e-1", "sleep", "60"),
            spec("e-2", "sleep", "60"),
        )
        assert client.ask("lock", holder="anna", what="up")["ok"]
        client.ask("unlock")
        fill(small)
        until(lambda: not living(results[0]["pid"]))
        full = clients(state=small)
        assert full.ask("lock", holder="bert", what="down")["ok"]  # who stops must be able to
        assert clients(state=small).ask("lock", holder="carl", what="up")["error"]["kind"] == "locked"
        assert full.hello["writable"] is False
        assert full.start(spec("e-3", "true"))[0]["error"]["kind"] == "full"
        assert full.observe("e-1")["state"] == "running"
        (verdict,) = full.stop("e-1")
        assert verdict["left"] == []
        assert not living(results[1]["pid"])
        (small / "ballast").unlink()
        seen = until(lambda: (p := full.observe("e-0"))["ended_at"] and p)
        assert (seen["state"], seen["exit_code"]) == ("exited", 5)
        assert full.stop("e-2")[0]["how"] == "TERM"
        assert not list(Path(full.root).rglob("*.tmp"))


def test_prlimit_is_there():
    assert shutil.which("prlimit"), "util-linux: on every machine that has mount"
