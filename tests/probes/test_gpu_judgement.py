from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from npuworld import an_engine
from specs import GPU, cluster, nodes, serve

from dplaunch.model.check import Level, Output
from dplaunch.model.plan import NodePlan
from dplaunch.probes import gpu
from dplaunch.probes.probe import ProbeTarget

CAPTURES = Path(__file__).parent / "captures" / "nvidia-smi"
NAMED, NAMELESS = "/usr/bin/python3 (pid 4711)", "a process outside this container"


def target() -> ProbeTarget:
    spec = cluster(serve(), kind="vllm", hardware=GPU, nodes=nodes(1, devices=8))
    node = spec.nodes[0]
    plan = NodePlan(
        name="n1",
        host="h1",
        address=node.address,
        ssh=node.ssh,
        runtime=spec.runtime,
        files=(),
        processes=(an_engine(node, tuple(range(8))),),
    )
    return ProbeTarget(spec=spec, node=node, plan=plan)


def output_of(name: str) -> Output:
    return Output(code=0, out=(CAPTURES / f"{name}.txt").read_bytes().decode(errors="replace"))


def judged(gpus: Output, apps: Output, ours: frozenset[int] = frozenset()):
    node = replace(target(), ours=ours)
    facts = gpu.PROBE.parse(node, {"gpus": gpus, "apps": apps})
    return [(f.level, f.text) for f in gpu.PROBE.judge([node], {"n1": facts})]


@pytest.mark.parametrize(
    ("gpus", "apps", "level", "text"),
    [
        ("gpus-idle", "apps-none", Level.OK, "8 × NVIDIA H100 80GB HBM3, free"),
        ("gpus-seven", "apps-none", Level.FAIL, "only 7 of 8 GPUs"),
        ("gpus-none", "apps-none", Level.FAIL, "only 0 of 8 GPUs"),
        ("gpus-held", "apps-none", Level.FAIL, f"devices 2-3: 69.4 GiB in use by {NAMELESS}"),
        ("driver-silent", "driver-silent", Level.FAIL, "NVIDIA-SMI has failed because it couldn't"),
        ("driver-mismatch", "driver-mismatch", Level.FAIL, "Failed to initialize NVML: Driver/library"),
        ("gpu-lost", "apps-none", Level.FAIL, "Unable to determine the device handle for GPU0000:3B:00.0"),
        ("gpus-cut", "apps-none", Level.WARN, "could not be read: nvidia-smi: printed"),
        ("gpus-binary", "apps-none", Level.WARN, "could not be read: nvidia-smi: printed"),
        ("gpus-not-available", "apps-none", Level.WARN, "could not be read: nvidia-smi: printed"),
    ],
)
def test_what_nvidia_smi_prints_is_one_finding(gpus, apps, level, text):
    [(found, line)] = judged(output_of(gpus), output_of(apps))
    assert found is level
    assert line.startswith(text)


def test_each_holder_of_memory_is_named():
    texts = [text for _, text in judged(output_of("gpus-held"), output_of("apps-two"))]
    assert texts == [
        f"device 2: 69.4 GiB in use by {NAMED}",
        "device 3: 69.4 GiB in use by VLLM::Worker_TP1 (pid 4712)",
    ]


def test_a_hidden_name_is_a_process_outside():
    assert judged(output_of("gpus-held"), output_of("apps-hidden"))[0] == (
        Level.FAIL,
        f"devices 2-3: 69.4 GiB in use by {NAMELESS} (pid 4711)",
    )


def test_memory_of_our_own_processes_is_not_a_finding():
    [(level, _)] = judged(output_of("gpus-held"), output_of("apps-two"), frozenset({4711, 4712}))
    assert level is Level.OK


@pytest.mark.parametrize(
    ("output", "level", "text"),
    [
        (Output(problem="not found"), Level.FAIL, "nvidia-smi is missing"),
        (Output(code=127), Level.FAIL, "nvidia-smi is missing"),
        (
            Output(problem="timed out after 20 s"),
            Level.WARN,
            "could not be read: nvidia-smi: timed out after 20 s",
        ),
    ],
)
def test_a_tool_that_does_not_answer_is_one_finding(output, level, text):
    assert judged(output, output) == [(level, text)]


def test_only_nodes_with_gpus_run_commands():
    node = target()
    assert [command.key for command in gpu.PROBE.commands(node, {})] == ["gpus", "apps"]
    bare = replace(node, node=replace(node.node, devices=()))
    assert list(gpu.PROBE.commands(bare, {})) == []


def test_a_gpu_that_no_engine_has_may_be_missing():
    node = target()
    rows = output_of("gpus-seven")
    there = [int(row.split(",")[0]) for row in rows.out.splitlines()]
    seated = replace(node.plan, processes=(an_engine(node.node, tuple(there)),))
    facts = gpu.PROBE.parse(node, {"gpus": rows, "apps": output_of("apps-none")})
    [found] = gpu.PROBE.judge([replace(node, plan=seated)], {"n1": facts})
    assert (found.level, found.text) == (Level.WARN, "only 7 of 8 GPUs: device 5 missing")
    left_out = replace(node.node, devices=tuple(there))
    [found] = gpu.PROBE.judge([replace(node, node=left_out, plan=seated)], {"n1": facts})
    assert found.level is Level.OK
