"""Examples that fit on this machine, from start to end with stand-ins for their engines."""

import os

import pytest

from dplaunch.render import clusters_root

FORMS = ("deepseek-gpu-hybrid", "deepseek-gpu-internal", "deepseek-gpu-supervisor", "llama-gpu-2node")
"""Other processes than one for each rank."""

pytestmark = pytest.mark.whole


ONE_RANK = (("dp: 2", "dp: 1"), ("dp: 4", "dp: 1"), ("ep: 16", "ep: true"))
SMALLER = {
    "deepseek-gpu-supervisor": (("dp: 16", "dp: 4"), ("ep: 16", "ep: 4")),
    "deepseek-r1-a3-kubernetes": (("dp: 32", "dp: 2"), ("ep: 32", "ep: 2"), ("groups: 2", "groups: 1")),
    "deepseek-r1-a3-layerwise": (("dp: 32", "dp: 2"), ("ep: 32", "ep: 2")),
    "deepseek-r1-a3-memcache": ONE_RANK,
    "deepseek-r1-a3-pool": ONE_RANK,
    "ernie-gpu-dp": (("dp: 8", "dp: 2"), ("ep: 8", "ep: 2")),
    "ernie-gpu-pd": (("dp: 8", "dp: 2"), ("ep: 8", "ep: 2")),
    "ernie-gpu-redis": (("dp: 8", "dp: 2"), ("ep: 8", "ep: 2")),
    "qwen3-235b-a3-offload": ONE_RANK,
}
"""Example → what is replaced in it, so that fewer engines run."""


@pytest.mark.parametrize(
    "name",
    [
        "deepseek-gpu-dbo",
        "deepseek-r1-a2-docker",
        "deepseek-r1-a3-dbo-v0.9.1",
        "deepseek-r1-a3-kubernetes",
        "deepseek-r1-a3-layerwise",
        "deepseek-r1-a3-memcache",
        "deepseek-r1-a3-pool",
        "ernie-gpu-dp",
        "ernie-gpu-pd",
        *FORMS,
        "ernie-gpu-redis",
        "qwen3-235b-a3-offload",
    ],
)
def test_an_example_is_rehearsed_from_up_to_down(cli, name):
    text = (clusters_root() / f"{name}.yaml").read_text()
    for old, new in SMALLER.get(name, ()):
        text = text.replace(old, new)
    cli.write("cluster.yaml", text.replace("cluster: ", f"cluster: t{os.getpid()}-", 1))
    assert cli.json("up", "--rehearse")["ready"]
    assert cli.json("status")["state"] == "serving"
    cli("test")
    last = "serve-0" if "\n  serve:" in text else "decode-0"
    assert "Application startup complete" in cli("logs", last, "-n", "0", "--grep", "startup complete").stdout
    assert "nothing is left" in cli("down", "-y").stdout
