"""What surrounds engines on a node: who runs there, and how to run a command as they are run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from dplaunch.engines import EngineFacts, facts
from dplaunch.probes.probe import Target

OUTSIDE = "a process outside this container"
"""Who holds a device, where the tool names nobody."""


def rehearses(target: Target) -> bool:
    """Whether rehearsal engines run there: nothing of a real engine is needed then."""
    return target.rehearsal


def has_engines(target: Target) -> bool:
    """Whether real engines run there."""
    return not rehearses(target) and any(process.kind == "engine" for process in target.plan.processes)


def engine(target: Target) -> EngineFacts:
    """What the cluster's engine is."""
    return facts(target.spec.engine.kind)


def shell(target: Target, text: str) -> tuple[str, ...]:
    """A text for bash, after the lines of runtime.setup, as the scripts of engines have them."""
    return ("bash", "-c", "\n".join((*target.plan.runtime.setup, text)))


def shell_words(target: Target, words: Sequence[str]) -> tuple[str, ...]:
    """One command in the place of that bash."""
    return shell(target, f"exec {shlex.join(words)}")


def needed(target: Target) -> set[int]:
    """Devices that engines of the plan sit on."""
    return {device for process in target.plan.processes for seat in process.seats for device in seat.devices}
