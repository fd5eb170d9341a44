import compileall
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dplaunch.cli.app import app
from dplaunch.node import boot
from dplaunch.wire import bundle

LAPTOP = Path(__file__).parents[2] / "clusters" / "laptop.yaml"


class Cli:
    """The command line in this process, in a folder and with a state home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runner = CliRunner()

    def __call__(self, *words: str, code: int = 0) -> Result:
        result = self._runner.invoke(app, list(words), catch_exceptions=False)
        assert result.exit_code == code, f"{words}: exit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    def json(self, *words: str, code: int = 0):
        return json.loads(self(words[0], "-o", "json", *words[1:], code=code).stdout)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture(scope="session")
def lib(tmp_path_factory):
    """What earlier starts left on a node: the bundle unpacked, its byte code compiled.

    The commands of the README meet a node that nobody has used yet.
    """
    folder = tmp_path_factory.mktemp("node") / "lib"
    boot.unpack(bundle().data, str(folder / bundle().sha))
    compileall.compile_dir(folder, quiet=1)
    return folder


@pytest.fixture
def cli(tmp_path, state_home, lib, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    (state_home / "dplaunch").mkdir(mode=0o700)
    (state_home / "dplaunch" / "lib").symlink_to(lib)
    monkeypatch.chdir(work)
    monkeypatch.setenv("DPLAUNCH_REHEARSAL_SPEED", "0")
    monkeypatch.setenv("COLUMNS", "100")
    cli = Cli(work)
    yield cli
    # Whatever a failed test left running is the business of `down`, as it would be a user's.
    if (state_home / "dplaunch" / ".operator" / "current.json").exists():
        CliRunner().invoke(app, ["down", "-y", "--grace", "1s"])


@pytest.fixture
def laptop(cli):
    """The shipped laptop cluster as cluster.yaml, under a name of this test's process."""
    text = LAPTOP.read_text().replace("cluster: laptop", f"cluster: laptop-{os.getpid()}")
    # An address and a router port of its own: several tests may run at once.
    number = os.getpid()
    text = text.replace(
        "host: localhost", f"host: localhost, address: 127.9.{number // 250 % 250}.{number % 250 + 1}"
    )
    text = text.replace("port: 8000", f"port: {18000 + number % 2000}")
    cli.write("cluster.yaml", text)
    shutil.copymode(LAPTOP, cli.folder / "cluster.yaml")
    return cli
