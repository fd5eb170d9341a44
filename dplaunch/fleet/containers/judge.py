"""Whether containers can be started: what machines hold → findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dplaunch.model.check import Finding, Level
from dplaunch.model.cluster import Container, Image
from dplaunch.model.container import Box
from dplaunch.model.plan import NodePlan
from dplaunch.ranges import fold, grouped

ENGINE, NAME, IMAGE, MACHINE = (f"container.{what}" for what in ("engine", "name", "image", "machine"))
_SHORT = len("sha256:") + 12


def judge(
    nodes: Mapping[str, NodePlan], boxes: Mapping[str, Box], running: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Finding]:
    """Findings about the engine, the container of that name, the image and what the container is given.

    ``running``: further node → id of the image from which its container runs.
    """
    for name, box in boxes.items():
        container = nodes[name].container
        if container is None or container.image is None:
            continue
        if box.problem:
            yield _fail(ENGINE, name, *_unusable(container, box))
            continue
        yield from _name(container, box)
        yield from _user(container, container.image, box)
        yield from _machine(box)
    asked = {name: box for name, box in boxes.items() if not box.problem}
    yield from _missing(nodes, asked)
    yield from _images({**running, **{name: box.image for name, box in asked.items() if box.image}})


def _unusable(container: Container, box: Box) -> tuple[str, str]:
    engine = container.engine
    absent = "not found" in box.problem
    why = f"there is no {engine}" if absent else f"{engine} cannot be used: {box.problem}"
    return why, f"`{engine} ps` must work there for the user that logs in"


def _name(container: Container, box: Box) -> Iterator[Finding]:
    name, engine = container.name, container.engine
    if not box.state:
        yield _fine(NAME, box.node, f"there is no container {name} yet")
    elif box.owner == container.owner:
        yield _fine(NAME, box.node, f"container {name} is ours, {box.state}")
    else:
        whose = f"belongs to {box.owner}" if box.owner else "was not started by dplaunch"
        yield _fail(
            NAME,
            box.node,
            f"a container {name} is there already ({box.state}) and {whose}; it is left alone",
            f"choose another name with runtime.container, or remove it with `{engine} rm {name}`",
        )


def _user(container: Container, image: Image, box: Box) -> Iterator[Finding]:
    """With docker root of the container is root of the machine: it would own the state of another user."""
    given = any(word.split("=")[0] in ("--user", "-u") for word in image.args)
    if container.engine == "docker" and box.user and not given:
        yield _fail(
            MACHINE,
            box.node,
            f"root would own the state that user {box.user} must read when the container has ended",
            f'log in as root (ssh.user), use rootless podman, or add runtime.args: [--user, "{box.user}"]',
        )


def _machine(box: Box) -> Iterator[Finding]:
    if box.lacks:
        yield _fail(
            MACHINE,
            box.node,
            f"the machine lacks what the container is given: {', '.join(box.lacks)}",
            "install the driver there, correct hardware.devices or weights.path; `ls -l` shows what is there",
        )
    else:
        yield _fine(MACHINE, box.node, "it has all that the container is given")


def _images(having: Mapping[str, str]) -> Iterator[Finding]:
    alike = grouped((image, name) for name, image in having.items())
    most = max(alike, key=lambda image: len(alike[image]), default="")
    for name, image in having.items():
        if image == most:
            yield _fine(IMAGE, name, f"it has the image, {image[:_SHORT]}")
        else:
            yield _fail(
                IMAGE,
                name,
                f"its image of that name is {image[:_SHORT]}, on {fold(alike[most])} {most[:_SHORT]}",
                "pull or load the same one everywhere, or name it by digest (runtime.image: NAME@sha256:…)",
            )


def _missing(nodes: Mapping[str, NodePlan], boxes: Mapping[str, Box]) -> Iterator[Finding]:
    sources = [name for name, box in boxes.items() if box.archive]
    for name, box in boxes.items():
        container = nodes[name].container
        if box.image or container is None or container.image is None:
            continue
        archive, reference = container.image.archive, container.image.reference
        if archive is None:
            yield _fine(IMAGE, name, f"`up` pulls {reference}")
        elif box.archive:
            yield _fine(IMAGE, name, f"`up` loads {archive}")
        elif sources:
            yield _fine(IMAGE, name, f"`up` copies {archive} from {fold(sources)}, and loads it")
        else:
            yield _fail(
                IMAGE,
                name,
                f"it has neither the image {reference} nor {archive}, and no other node has that file",
                f"`{container.engine} save -o {archive} {reference}` where the image is; one node needs it",
            )


def _fail(probe: str, node: str, text: str, remedy: str) -> Finding:
    return Finding(probe=probe, level=Level.FAIL, node=node, text=text, remedy=remedy)


def _fine(probe: str, node: str, text: str) -> Finding:
    return Finding(probe=probe, level=Level.OK, node=node, text=text)
