"""``dplaunch completion SHELL``: the script that completes verbs, options and targets."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode

COMPLETE = "_DPLAUNCH_COMPLETE"
"""Set by the script in the user's shell when it asks for completions."""


class Shell(str, Enum):
    """Shells that can complete ``decode-3``."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    call: Invocation, shell: Annotated[Shell, typer.Argument(help="Print the script for bash, zsh or fish.")]
) -> ExitCode:
    """Print a shell's completion script; use it with `source <(dplaunch completion bash)`."""
    # typer writes these scripts, but offers them only as options of its own.
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="dplaunch", complete_var=COMPLETE, shell=shell.value)
    call.screen.write(f"{script}\n")
    return ExitCode.DONE


def prepare() -> None:
    """Register the shells with typer, which does so itself only for its own --install-completion."""
    from typer._completion_classes import completion_init

    completion_init()
