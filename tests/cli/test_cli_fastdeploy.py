"""FastDeploy's offline inference on this machine: a job that is done, and one whose workers end."""

import os

import pytest

from dplaunch.render import clusters_root

pytestmark = pytest.mark.whole


@pytest.fixture
def example(cli):
    text = (clusters_root() / "ernie-gpu-offline.yaml").read_text()
    for old, new in {
        "cluster: ": f"cluster: t{os.getpid()}-",
        "hardware: gpu-8": "hardware: {devices: 2, family: gpu}",
        "dp: 8": "dp: 2",
        "ep: 8": "ep: 2",
        "max_tokens: 128": "max_tokens: 4",
    }.items():
        assert old in text
        text = text.replace(old, new, 1)
    cli.write("cluster.yaml", text)
    return text


def test_offline_inference_runs_to_its_end_and_is_done(cli, example):
    assert example
    assert cli.json("up", "--rehearse")["ready"]
    seen = cli.json("status")
    assert (seen["state"], [entry["state"] for entry in seen["processes"]]) == ("done", ["done", "running"])
    assert "every process of the job ended with code 0" in cli("test").stdout
    answers = cli("logs", "serve@f1", "-n", "0", "--grep", "generated_text").stdout
    assert "Hello, my name is" in answers
    assert not cli.json("up", "--rehearse")["changed"]
    assert "nothing is left" in cli("down", "-y").stdout


def test_workers_that_end_fail_the_job_with_their_last_words(cli, example):
    faults = "{DPLAUNCH_REHEARSAL_HANG: weights, DPLAUNCH_REHEARSAL_CRASH_AFTER: 0.3}"
    cli.write("cluster.yaml", example.replace("    args:", f"    env: {faults}\n    args:", 1))
    failed = cli("up", "--rehearse", code=1)
    assert "serve@f1 on f1 exited with code 1" in failed.stderr
    assert "CUDA error(700)" in failed.stderr
    cli("down", "-y")
