"""MindIE's examples on this machine: a job that is done, and a service of which one node serves."""

import os

import pytest

from dplaunch.render import clusters_root

pytestmark = pytest.mark.whole


@pytest.fixture
def example(cli):
    def write(name, **replaced):
        text = (clusters_root() / f"{name}.yaml").read_text()
        for old, new in {"cluster: ": f"cluster: t{os.getpid()}-", **replaced}.items():
            assert old in text
            text = text.replace(old, new, 1)
        cli.write("cluster.yaml", text)

    return write


def test_a_job_runs_to_its_end_on_all_nodes_and_is_done(cli, example):
    few = {"hardware: atlas-800i-a2": "hardware: {devices: 2, family: a2}", "tp: 16": "tp: 4"}
    example("llama2-70b-atb-2node", **few)
    assert cli.json("up", "--rehearse")["ready"]
    seen = cli.json("status")
    assert (seen["state"], {entry["state"] for entry in seen["processes"]}) == ("done", {"done"})
    assert "every process of the job ended with code 0" in cli("test").stdout
    assert "Answer[0]: What's Deep Learning?" in cli("logs", "serve-0", "-n", "0", "--grep", "Answer").stdout
    assert not cli.json("up", "--rehearse")["changed"]
    cli("down", "-y")


def test_a_service_starts_on_all_nodes_and_is_asked_on_one(cli, example):
    example("deepseek-r1-mindie-2node", **{"port: 8000": f"port: {22000 + os.getpid() % 2000}"})
    assert cli.json("up", "--rehearse")["ready"]
    assert cli.json("status")["state"] == "serving"
    assert "1 of 1 engine answer correctly" in cli("test").stdout
    assert "Daemon start success!" in cli("logs", "serve@n2").stdout
    assert "nothing is left" in cli("down", "-y").stdout
