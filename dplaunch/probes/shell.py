"""Commands that run in the environment of the engines: after the lines of ``runtime.setup``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from dplaunch.probes.probe import ProbeTarget


def wrap_script(target: ProbeTarget, script: str) -> tuple[str, ...]:
    """Return a bash command that runs the setup lines, then the script."""
    return ("bash", "-c", "\n".join((*target.plan.runtime.setup, script)))


def wrap_command(target: ProbeTarget, words: Sequence[str]) -> tuple[str, ...]:
    """Return a bash command that runs the setup lines, then becomes this command."""
    return wrap_script(target, f"exec {shlex.join(words)}")
