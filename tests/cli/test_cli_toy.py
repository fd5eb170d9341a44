"""An engine that only tests know, through the real walks with real guards: nothing of the product knows its name."""

import os

import pytest

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("toys")]

NUMBER = os.getpid()
FILE = """\
cluster: %(kind)s-%(number)s
engine: {kind: %(kind)s, version: "1.0"}
model: some/model
served_model_name: m
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]"}
roles:
  serve: {nodes: "n[1-2]", groups: 2, dp: 4, env: {TOY_ASKED: %(asked)s}}
router: {%(router)s}
ready_timeout: 1m
"""


@pytest.fixture
def write(cli, tmp_path):
    def write(kind, router):
        values = {"kind": kind, "number": NUMBER, "asked": tmp_path / "asked", "router": router}
        cli.write("cluster.yaml", FILE % values)

    return write


def pids(status):
    return {entry["process"]: entry["pid"] for entry in status["processes"]}


def test_up_restart_and_down_of_parents_with_four_endpoints_each(cli, write, tmp_path):
    write("toy", f"port: {20000 + NUMBER % 2000}")
    assert cli.json("up", "--rehearse")["ready"]
    seen = cli.json("status")
    assert seen["state"] == "serving"
    assert {e["name"] for e in seen["processes"]} == {"router", *(f"serve-{rank}" for rank in range(8))}
    before = pids(seen)
    assert set(before) == {"serve@n1", "serve@n2", "router"}
    assert len(set((tmp_path / "asked").read_text().split())) == 8  # every endpoint was proved
    assert not cli.json("up", "--rehearse")["changed"]
    assert "all ranks up" in cli("logs", "serve@n1").stdout

    cli("restart", "serve-5", "-y")
    seen = cli.json("status")
    after = pids(seen)
    assert {name for name in before if after[name] == before[name]} == {"serve@n1", "router"}
    assert seen["state"] == "serving"
    assert "3 processes stopped; nothing is left" in cli("down", "-y").stdout


def test_up_waits_for_a_job_and_status_calls_it_done(cli, write):
    write("toy-job", "kind: none")
    assert cli.json("up", "--rehearse")["ready"]
    seen = cli.json("status")
    assert (seen["state"], {entry["state"] for entry in seen["processes"]}) == ("done", {"done"})
    cli("down", "-y")
