"""One Kubernetes for all tests, and the command line in a folder of its own."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dplaunch.cli.app import app

HERE = Path(__file__).parent
LAB = Path(os.environ.get("DPLAUNCH_KUBERNETES", Path.home() / ".cache" / "dplaunch-kubernetes"))


@pytest.fixture(scope="session", autouse=True)
def kubernetes() -> Iterator[Path]:
    """The path of its kubeconfig. It has the machine's ports: who comes second waits."""
    if not (LAB / "bin" / "kubelet").exists():
        pytest.skip(f"{LAB}/bin has no Kubernetes; `make test-kubernetes` builds it")
    with (LAB / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for verb in ("down", "up"):  # down first: what an earlier run left, if it was cut off
            subprocess.run(["bash", HERE / "cluster.sh", verb, LAB], check=True, timeout=300)
        yield LAB / "run" / "kubeconfig"
        subprocess.run(["bash", HERE / "cluster.sh", "down", LAB], check=True, timeout=180)


@pytest.fixture
def kubectl(kubernetes: Path) -> Callable[..., str]:
    """What kubectl prints; it must succeed."""

    def run(*words: str, given: str = "") -> str:
        argv = ["kubectl", "--kubeconfig", str(kubernetes), *words]
        return subprocess.run(
            argv, input=given, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """``run("up", code=0)`` in a folder that is empty before; what a failed test leaves running goes down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")

    def make(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert result.exit_code == code, f"{words}: exit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    yield make
    CliRunner().invoke(app, ["down", "-y", "cluster.yaml"])
