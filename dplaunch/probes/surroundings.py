"""What surrounds engines on a node: who runs there, and how to run a command as they are run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from dplaunch.model.check import Output
from dplaunch.probes.probe import Target
from dplaunch.probes.words import clean

STAND_IN = "bin/vllm"
"""A plan with this file starts rehearsal engines."""
NO_ANSWER = Output(problem="no answer")
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_TENTHS_BELOW = 10
GIB = 1 << 30


def rehearses(target: Target) -> bool:
    """Whether rehearsal engines run there: nothing of a real engine is needed then."""
    return any(file.path == STAND_IN for file in target.plan.files)


def has_engines(target: Target) -> bool:
    """Whether real engines run there."""
    return not rehearses(target) and any(process.kind == "engine" for process in target.plan.processes)


def runs_vllm(target: Target) -> bool:
    """Whether dplaunch itself writes the command line of a real vLLM for this node."""
    return has_engines(target) and target.spec.engine.kind in ("vllm-ascend", "vllm")


def shell(target: Target, text: str) -> tuple[str, ...]:
    """A text for bash, after the lines of runtime.setup, as the scripts of engines have them."""
    return ("bash", "-c", "\n".join((*target.plan.runtime.setup, text)))


def shell_words(target: Target, words: Sequence[str]) -> tuple[str, ...]:
    """One command in the place of that bash."""
    return shell(target, f"exec {shlex.join(words)}")


def answer(outputs: Mapping[str, Output], key: str) -> Output:
    """The output of a command; one that says so when there is none."""
    return outputs.get(key, NO_ANSWER)


def last_words(output: Output) -> str:
    """Why a command failed, in its own words: the last line it left."""
    said = clean(output.err or output.out).strip().splitlines()
    return said[-1].strip()[:160] if said else output.problem or f"exit code {output.code}"


def size(amount: float) -> str:
    """``64 MiB``, ``1.5 GiB``, ``503 GiB``: of bytes."""
    value = amount / _STEP
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.1f} {unit}" if 0 < value < _TENTHS_BELOW else f"{value:.0f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"
