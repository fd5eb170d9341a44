import re
import subprocess
from pathlib import Path

import pytest

from dplaunch import plan, spec
from dplaunch.engines.adapter import Command
from dplaunch.render import clusters_root

EXAMPLES = sorted(clusters_root().glob("*.yaml"), key=lambda path: path.name)
ENGINES = {
    "deepseek-gpu-dbo": 8,
    "deepseek-gpu-hybrid": 2,
    "deepseek-gpu-internal": 2,
    "deepseek-gpu-nixl": 32,
    "deepseek-gpu-supervisor": 2,
    "deepseek-r1-a2-2node": 4,
    "deepseek-r1-a2-docker": 4,
    "deepseek-r1-a3-4node": 36,
    "deepseek-r1-a3-4p4d": 72,
    "deepseek-r1-a3-4p4d-v0.9.1": 72,
    "deepseek-r1-a3-dbo-v0.9.1": 1,
    "deepseek-r1-a3-layerwise": 36,
    "deepseek-r1-mindie-2node": 2,
    "deepseek-r1-a3-memcache": 6,
    "deepseek-r1-mindie-motor": 5,
    "deepseek-r1-a3-pool": 6,
    "ernie-gpu-dp": 2,
    "ernie-gpu-offline": 0,
    "ernie-gpu-offline-tp": 0,
    "ernie-gpu-pd": 2,
    "ernie-gpu-redis": 2,
    "ernie-gpu-scheduled": 2,
    "deepseek-r1-a3-kubernetes": 36,
    "laptop": 6,
    "llama-gpu-2node": 2,
    "llama2-70b-atb-2node": 0,
    "qwen3-235b-a3-3node": 10,
    "qwen3-235b-a3-offload": 2,
    "qwen3-235b-a3-internal": 2,
    "qwen3-gpu-docker": 16,
    "script": 4,
}


def loaded(path: Path):
    return spec.load(path.read_text(), str(path), read_file=lambda name: Path(name).read_text())


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request):
    return request.param


def test_every_example_has_a_test_of_its_size():
    assert {path.stem for path in EXAMPLES} == set(ENGINES)


def test_it_loads_and_plans_without_a_warning(example):
    found = loaded(example)
    planned = plan.build(found.spec)
    assert found.warnings == ()
    assert planned.warnings == ()
    assert sum(p.kind == "engine" for p in planned.processes) == ENGINES[example.stem]
    assert plan.from_json(plan.to_json(planned)) == planned


def written(command):
    """Environment, then the command line: a flag with its values on each line."""
    words = " ".join(command.argv).replace(" --", "\n  --")
    return "\n".join([*(f"{name}={value}" for name, value in sorted(command.env.items())), words])


def kind(name, command):
    """Equal for processes that differ in numbers only: of one role, with a server or without one."""
    return re.split(r"[-.@]", name)[0], "--headless" in command.argv


def test_the_first_engine_of_each_role_is_started_with_the_command_of_its_file(example, expect):
    spec_of = loaded(example).spec
    engines = (p for p in plan.build(spec_of).processes if p.kind == "engine")
    commands = plan.commands(spec_of) or {p.name: Command(p.argv, {}) for p in engines}
    first = {kind(name, commands[name]): name for name in reversed(commands)}
    text = "\n\n".join(f"# {name}\n{written(commands[name])}" for name in sorted(first.values()))
    expect(Path(__file__).parent / "clusters" / f"{example.stem}.argv", f"{text}\n")


def test_it_says_where_it_comes_from(example):
    opening = example.read_text().split("cluster:")[0]
    assert "# Source: " in opening


def test_its_scripts_are_valid_bash(example):
    planned = plan.build(loaded(example).spec)
    scripts = {f.text for node in planned.nodes for f in node.files if f.path.endswith(".sh")}
    whole = "\n".join(f"function script_{i} {{\n{text}\n}}" for i, text in enumerate(sorted(scripts)))
    checked = subprocess.run(
        ["bash", "-n"], input=whole, text=True, capture_output=True, check=False, timeout=20
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_it_can_be_rehearsed_with_the_same_seats(example):
    real, rehearsal = plan.build(loaded(example).spec), plan.build(loaded(example).spec, rehearse=True)
    seats = [(s.name, s.devices, s.ports) for p in real.processes for s in p.seats]
    assert [(s.name, s.devices, s.ports) for p in rehearsal.processes for s in p.seats] == seats
    assert all(node.host == "localhost" and node.address.startswith("127.") for node in rehearsal.nodes)
