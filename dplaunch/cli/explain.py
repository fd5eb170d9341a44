"""``dplaunch explain KEY``: the documented reference file, or a part of it."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Call
from dplaunch.errors import ExitCode

Key = Annotated[str | None, typer.Argument(help="roles.decode.dp, ports …; nothing: the whole reference.")]


def explain(call: Call, key: Key = None) -> ExitCode:
    """Explain a key of the cluster file: what it means, its type, its default."""
    from dplaunch.spec.explain import explain as part
    from dplaunch.spec.reference import reference

    text = reference() if key is None else part(key)
    call.screen.present(text.rstrip(), {"key": key, "text": text})
    return ExitCode.DONE
