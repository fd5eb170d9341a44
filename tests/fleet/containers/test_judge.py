"""What machines hold for their containers → findings, and how each gets the image."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from plans import a_plan, a_process

from dplaunch.fleet.containers.images import plan_images
from dplaunch.fleet.containers.judge import judge
from dplaunch.model.cluster import Container, Image
from dplaunch.model.container import Box

CASES = Path(__file__).parent / "cases"
IMAGE = Image(reference="engines:1")
ARCHIVED = replace(IMAGE, archive="/data/engines.tar")
NAMES = ("n1", "n2", "n3")
ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def nodes(image=IMAGE, engine="docker"):
    planned = a_plan(*(a_process(f"serve-{n}", name) for n, name in enumerate(NAMES)))
    return {
        node.name: replace(node, container=Container(f"box-{node.name}", engine, image, f"c/{node.name}"))
        for node in planned.nodes
    }


def boxes(**given):
    return {name: given.get(name, Box(node=name, image=ONE)) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "image", "found"),
    [
        ("all-well", IMAGE, boxes()),
        ("no-engine", IMAGE, boxes(n2=Box(node="n2", problem="sh: 1: docker: not found"))),
        ("engine-denies", IMAGE, boxes(n2=Box(node="n2", problem="permission denied on docker.sock"))),
        ("ours-has-ended", IMAGE, boxes(n2=Box(node="n2", state="exited", owner="c/n2", image=ONE))),
        ("somebody-s", IMAGE, boxes(n2=Box(node="n2", state="running", image=ONE))),
        ("another-cluster-s", IMAGE, boxes(n2=Box(node="n2", state="running", owner="d/n2", image=ONE))),
        ("images-differ", IMAGE, boxes(n3=Box(node="n3", image=OTHER))),
        ("no-image", IMAGE, boxes(n1=Box(node="n1"))),
        ("one-archive", ARCHIVED, boxes(n1=Box(node="n1", archive=True), n2=Box(node="n2"))),
        ("no-archive", ARCHIVED, boxes(n2=Box(node="n2"))),
        ("no-driver", IMAGE, boxes(n2=Box(node="n2", image=ONE, lacks=("/dev/davinci0", "/etc/hccn.conf")))),
        ("not-root", IMAGE, boxes(n1=Box(node="n1", image=ONE, user=1000))),
    ],
)
def test_what_machines_hold_is_judged(name, image, found, expect):
    lines = [
        f"{one.node} {one.probe} {one.level.value}: {one.text}"
        + (f"\n    {one.remedy}" if one.remedy else "")
        for one in judge(nodes(image), found)
    ]
    expect(CASES / f"{name}.txt", "\n".join(lines) + "\n")


def test_a_user_of_podman_needs_not_be_root():
    found = boxes(n1=Box(node="n1", image=ONE, user=1000))
    assert {one.level.value for one in judge(nodes(engine="podman"), found)} == {"ok"}


def test_an_image_is_pulled_without_an_archive_and_loaded_or_copied_with_one():
    found = boxes(n1=Box(node="n1", archive=True), n2=Box(node="n2"))
    assert plan_images(nodes(), found).pulled == ("n1", "n2")
    wanted = plan_images(nodes(ARCHIVED), found)
    assert (wanted.pulled, wanted.loaded, wanted.copied) == ((), ("n1",), ("n2",))


def test_the_image_of_what_keeps_running_counts_too():
    found = {"n1": Box(node="n1", image=ONE)}
    wrong = [one for one in judge(nodes(), found, {"n2": OTHER, "n3": OTHER}) if one.level.value == "fail"]
    assert [(one.node, one.probe) for one in wrong] == [("n1", "container.image")]
