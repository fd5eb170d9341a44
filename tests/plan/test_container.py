"""The run command of a node's container."""

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace
from specs import A3, CPU, GPU, four_p_four_d

from dplaunch import plan
from dplaunch.model.cluster import Container, Image, WeightsSpec

CASES = Path(__file__).parent / "containers"
NPU = Image(reference="quay.io/ascend/vllm-ascend:v0.23.0-a3")
OWN = Image(
    reference="engines:1",
    archive="/data/engines.tar",
    args=("--ulimit", "nofile=1024:1024", "--env=A=b c"),
    mounts=("/data", "/a:/b:ro"),
    shm_size="64g",
)


def boxed(image, *, hardware=A3, engine="docker", **fields):
    spec = four_p_four_d(hardware=hardware, container=Container("", engine, image), **fields)
    nodes = tuple(replace(node, devices=node.devices if hardware.devices else ()) for node in spec.nodes)
    return replace(spec, nodes=nodes)


def script(spec, node=0):
    return next(file.text for file in plan.build(spec).nodes[node].files if file.path == "container.sh")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("npu", boxed(NPU, weights=WeightsSpec(path="/data/weights"))),
        ("own", boxed(OWN, weights=WeightsSpec(path="/data/weights"))),
    ],
)
def test_the_command_of_a_node(name, spec, expect):
    expect(CASES / f"{name}.sh", script(spec))


def test_devices_come_from_the_first_to_the_last_that_is_used_so_that_numbers_stay_the_same():
    spec = boxed(NPU)
    few = replace(spec, nodes=tuple(replace(node, devices=tuple(range(8, 16))) for node in spec.nodes))
    assert "--device /dev/davinci0 " in script(spec)
    container, _ = plan.container.complete(few, few.nodes[0])
    assert "/dev/davinci0" in container.needs
    assert "/dev/davinci16" not in container.needs


@pytest.mark.parametrize(
    ("engine", "flag"), [("docker", "--gpus all"), ("podman", "--device nvidia.com/gpu=all")]
)
def test_gpus_are_given_as_the_engine_takes_them(engine, flag):
    spec = boxed(OWN, hardware=GPU, engine=engine)
    _, (file,) = plan.container.complete(spec, spec.nodes[0])
    assert flag in file.text
    assert "davinci" not in file.text


def test_without_accelerators_there_are_no_devices_and_no_limits():
    spec = boxed(Image(reference="x"), hardware=CPU)
    container, (file,) = plan.container.complete(spec, spec.nodes[0])
    assert container.needs == ()
    assert "--device" not in file.text
    assert "--ulimit" not in file.text


def test_a_container_is_known_by_its_owner_and_by_its_command():
    planned = plan.build(boxed(NPU))
    container = planned.nodes[1].container
    assert (container.name, container.owner) == ("dplaunch-c1-n2", "c1/n2")
    assert container.stamp == hashlib.sha256(script(boxed(NPU), 1).encode()).hexdigest()[:16]


def test_every_process_starts_again_with_another_command():
    before, after = (plan.build(boxed(image)) for image in (NPU, replace(NPU, args=("--env=A=b",))))
    assert all("container.sh" in process.files for process in before.processes)
    same = {p.fingerprint for p in before.processes} & {p.fingerprint for p in after.processes}
    assert not same


def test_a_rehearsal_starts_none():
    planned = plan.build(boxed(NPU), rehearse=True)
    assert {node.container for node in planned.nodes} == {None}
    assert not [file for node in planned.nodes for file in node.files if file.path == "container.sh"]
