"""A node whose guard answers anything: every verb ends with a code of the table, and the other node is obeyed."""

import json
import os
import signal
import subprocess
import traceback
from contextlib import suppress
from pathlib import Path

import liar
import pytest
from leftovers import belonging_to
from typer.testing import CliRunner

from dplaunch.cli.app import app
from dplaunch.errors import ExitCode
from dplaunch.view.style import HIDDEN

FILE = """\
cluster: liar-{number}
engine: {{kind: vllm, version: "0.11.0"}}
model: test/model
served_model_name: tiny
hardware: {{devices: 2}}
nodes: [{{name: "n[1-2]", host: "192.0.2.[1-2]"}}]
roles: {{prefill: {{nodes: n1}}, decode: {{nodes: n2, groups: 2}}}}
kv_transfer: {{connector: NixlConnector}}
router: {{node: n1, port: {port}}}
ready_timeout: 30s
drain_timeout: 2s
"""
VERBS = (
    "status",
    "status -o json",
    "test",
    "test -o json",
    "logs -n 20",
    "logs decode-0 -o json -n 5",
    "diagnose",
    "diagnose -o json",
    "analyze",
    "analyze -o json",
    "lock",
    "audit",
    "audit -o json",
    "check",
    "check -o json",
    "exec all -- true",
    "up --dry-run",
    "up -y --keep",
    "restart decode-0 -y",
)
EPISODE = 5
"""Verbs from one start to the next."""
LONGEST = 200
"""Seconds for a verb: it waits for each of a node's replies as long as that may honestly take."""


@pytest.fixture
def site(cli, tmp_path, monkeypatch):
    """A cluster of two nodes on this machine, whose ``python3`` may lie, and a process of somebody else."""
    number = os.getpid()
    cli.write("cluster.yaml", FILE.format(number=number, port=23000 + number % 2000))
    (tmp_path / "bin").mkdir()
    lie = tmp_path / "lie.json"
    liar.install(tmp_path / "bin", lie)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    before = signal.signal(signal.SIGALRM, hangs)
    canary = subprocess.Popen(["sleep", "36000"], cwd="/", env={})
    yield Site(cli, lie, canary)
    signal.signal(signal.SIGALRM, before)
    lie.unlink(missing_ok=True)
    canary.kill()
    canary.wait()


def hangs(*_: object):
    raise AssertionError("it hangs")


class Site:
    def __init__(self, cli, lie: Path, canary) -> None:
        self.cli, self.lie, self.canary = cli, lie, canary
        self.nodes = Path(os.environ["XDG_STATE_HOME"]) / "dplaunch" / f"liar-{os.getpid()}.rehearsal"

    def honest(self, verb: str):
        self.lie.unlink(missing_ok=True)
        self.cli(verb, "--rehearse", "-y", "cluster.yaml")

    def tell(self, dice, node):
        """From now on the node lies."""
        lie = {"node": node, "seed": dice.getrandbits(32), "rate": dice.choice((0.1, 0.5, 1))}
        self.lie.write_text(json.dumps({**lie, "pids": [self.canary.pid]}))

    def run(self, words):
        """What came of a verb; what no verb may do is a failure."""
        signal.alarm(LONGEST)
        verb, *more = words.split()
        result = CliRunner().invoke(app, [verb, "--rehearse", "--file", "cluster.yaml", *more])
        signal.alarm(0)
        text = result.stdout + result.stderr
        trouble = "" if isinstance(result.exception, SystemExit | None) else explain(result.exc_info)
        trouble = trouble or ("a traceback" if "Traceback (most recent" in text else "")
        trouble = trouble or ("control characters" if HIDDEN.search(text.replace("\n", "")) else "")
        trouble = trouble or ("" if result.exit_code in set(ExitCode) else f"exit {result.exit_code}")
        trouble = trouble or ("the canary was killed" if self.canary.poll() is not None else "")
        assert not trouble, f"`{words}`: {trouble}; the lie: {self.lie.read_text()}\n{text}"
        return result

    def frees(self, node: str, until):
        """Whether nothing of a node, or of all, runs any more."""
        with suppress(AssertionError):
            return until(lambda: not belonging_to(self.nodes / node), 5)


def explain(exc_info) -> str:
    return "".join(traceback.format_exception(*exc_info))


def test_whatever_a_node_says_a_verb_ends_in_order_and_the_other_node_is_obeyed(site, dice, rounds, until):
    for number in range(rounds):
        if number % EPISODE == 0:
            site.honest("up")
        site.tell(dice, node := dice.choice(("n1", "n2")))
        if (number + 1) % EPISODE:
            site.run(dice.choice(VERBS))
            continue
        ended = site.run("down -y --grace 1s")
        # Whether somebody else holds the lock is for the node to say that keeps it.
        other = "n2" if node == "n1" else "n1"
        if ended.exit_code != ExitCode.LOCKED:
            assert site.frees(other, until), (
                f"{other} was not stopped: exit {ended.exit_code}, {ended.output}"
            )
        site.honest("down")
        assert site.frees("", until)
