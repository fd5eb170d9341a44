"""Rules about the container in which everything runs."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.spec.finding import Finding
from dplaunch.spec.rules.rule import Case, Rule

OF_AN_IMAGE = ("archive", "args", "mounts", "shm_size")
OURS = {
    "--name": "name it with runtime.container",
    "--network": "engines of several nodes need the machine's network",
    "--net": "engines of several nodes need the machine's network",
    "--entrypoint": "the container's first process only holds it open; engines start in it later",
    "--uts": "state is known by the machine's name",
    "--rm": "`dplaunch down` removes the container",
    "--detach": "the container always runs in the background",
    "-d": "the container always runs in the background",
    "-it": "the container always runs in the background",
    "-i": "the container always runs in the background",
    "-t": "the container always runs in the background",
}
"""Words of the run command that dplaunch decides, and why, or what to write instead."""


def image_settings(case: Case) -> Iterator[Finding]:
    """What describes how a container is started stands beside the image that it is started from."""
    given = case.file.runtime
    if given.image is not None:
        return
    for key in OF_AN_IMAGE:
        if getattr(given, key):
            yield Finding(
                ("runtime", key),
                f"runtime.{key} is about a container that dplaunch starts, and needs runtime.image",
                "add image, or start the container yourself and remove this",
                at_key=True,
            )


def run_words(case: Case) -> Iterator[Finding]:
    """Words that would fight with those that dplaunch writes."""
    for index, word in enumerate(case.file.runtime.args):
        flag = word.split("=")[0]
        if flag in OURS:
            yield Finding(("runtime", "args", index), f"{flag} is dplaunch's: {OURS[flag]}", f"remove {word}")


RULES = (
    Rule(("runtime.image",), image_settings),
    Rule(("runtime.args",), run_words),
)
