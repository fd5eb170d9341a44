"""The final command of every engine, held against what the rendered scripts really start."""

from pathlib import Path

import pytest
from fakevllm import Stage
from msgspec.structs import replace

from dplaunch.plan import build, commands
from dplaunch.spec import load

CLUSTERS = Path(__file__).parents[2] / "clusters"


def read(name):
    spec = load((CLUSTERS / name).read_text(), name, read_file=lambda _: "").spec
    return replace(spec, nodes=tuple(replace(node, nic="lo") for node in spec.nodes))


@pytest.mark.parametrize(
    "name", ["deepseek-r1-a3-4p4d.yaml", "deepseek-r1-a3-4p4d-v0.9.1.yaml", "deepseek-gpu-nixl.yaml"]
)
def test_the_commands_are_what_the_scripts_start(name, tmp_path):
    spec = read(name)
    plan, found = build(spec, python="python3", router_files={}), commands(spec)
    engines = [process for process in plan.processes if process.kind == "engine"]
    assert found.keys() == {process.name for process in engines}
    for node in plan.nodes:
        stage = Stage(tmp_path / node.name)
        stage.put(node)
        mine = [process for process in node.processes if process.kind == "engine"]
        for process in (*mine[:1], *mine[-1:]):
            ran, command = stage.run(process), found[process.name]
            assert ["vllm", *ran.argv] == list(command.argv)
            assert command.env.items() <= ran.env.items()


def test_nothing_is_said_of_what_a_script_of_the_user_starts():
    spec = load((CLUSTERS / "script.yaml").read_text(), "x", read_file=lambda _: "vllm serve $1").spec
    assert commands(spec) == {}
