"""``dplaunch completion SHELL``: the line that makes a shell complete verbs, options and targets."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode

COMPLETE = "_DPLAUNCH_COMPLETE"
"""Set where dplaunch is started to answer a shell: typer's protocol."""


class Shell(str, Enum):
    """Shells that can complete ``decode-3``."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    call: Invocation, shell: Annotated[Shell, typer.Argument(help="Print the line for bash, zsh or fish.")]
) -> ExitCode:
    """Print what makes a shell complete; use it with `source <(dplaunch completion bash)`."""
    ask = f"{COMPLETE}=source_{shell.value} dplaunch"
    call.screen.write(f"{ask} | source\n" if shell is Shell.FISH else f'eval "$({ask})"\n')
    return ExitCode.DONE


def prepare() -> None:
    """Have typer learn the shells: it does so only when it makes an app with its own completion options."""
    app = typer.Typer(add_completion=True)
    app.command()(prepare)
    typer.main.get_command(app)
