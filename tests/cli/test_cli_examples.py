"""Examples that fit on this machine, from start to end with stand-ins for their engines."""

import os

import pytest

from dplaunch.render import clusters_root

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("name", ["deepseek-gpu-dbo", "deepseek-r1-a3-dbo-v0.9.1"])
def test_an_example_is_rehearsed_from_up_to_down(cli, name):
    text = (clusters_root() / f"{name}.yaml").read_text()
    cli.write("cluster.yaml", text.replace("cluster: ", f"cluster: t{os.getpid()}-", 1))
    assert cli.json("up", "--rehearse")["ready"]
    assert cli.json("status")["state"] == "serving"
    cli("test")
    assert "Application startup complete" in cli("logs", "serve-0", "--grep", "startup complete").stdout
    assert "nothing is left" in cli("down", "-y").stdout
