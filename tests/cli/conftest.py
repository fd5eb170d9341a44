import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dplaunch.cli.app import app

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


NUMBER = os.getpid()
# Names, an address and a router port of this process: several tests may run at once.
NAME = f"laptop-{NUMBER}"
ADDRESS = f"127.9.{NUMBER // 250 % 250}.{NUMBER % 250 + 1}"
PORT = 18000 + NUMBER % 2000


@pytest.fixture
def laptop(cli):
    """The shipped laptop cluster as cluster.yaml, under a name of this test's process."""
    text = LAPTOP.read_text().replace("cluster: laptop", f"cluster: {NAME}")
    text = text.replace("host: localhost", f"host: localhost, address: {ADDRESS}")
    cli.write("cluster.yaml", text.replace("port: 8000", f"port: {PORT}"))
    shutil.copymode(LAPTOP, cli.folder / "cluster.yaml")
    return cli


SMALL = f"""\
cluster: {NAME}
engine: {{kind: rehearsal}}
model: test/model
nodes: [{{name: laptop, host: localhost, address: {ADDRESS}}}]
"""


@pytest.fixture
def pair(cli):
    """The smallest cluster with every kind of process: prefill-0, decode-0, router."""
    roles = "roles: {prefill: {nodes: laptop}, decode: {nodes: laptop}}"
    cli.write("cluster.yaml", f"{SMALL}{roles}\nrouter: {{node: laptop, port: {PORT}}}\n")
    return cli


@pytest.fixture
def ranks(cli):
    """One group of two engines, serve-0 and serve-1, without a router: for what ends before one is asked."""
    cli.write("cluster.yaml", f"{SMALL}roles: {{serve: {{nodes: laptop, dp: 2}}}}\n")
    return cli
