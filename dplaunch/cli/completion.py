"""``dplaunch completion SHELL``: what to put into a shell's start-up file."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Shell(str, Enum):
    """Shells that can complete ``decode-3``."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish")]) -> None:
    """Print the completion script of a shell: `source <(dplaunch completion bash)`."""
    from typer.completion import get_completion_script

    typer.echo(
        get_completion_script(prog_name="dplaunch", complete_var="_DPLAUNCH_COMPLETE", shell=shell.value)
    )
