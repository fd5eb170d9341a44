"""``dplaunch explain WORD``: a key of the cluster file, or a failure by its code, its name or its line."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Call
from dplaunch.errors import ExitCode, UsageError

Key = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORD]",
        help="roles.decode.dp, ports …; EI0006 or a line of a log; nothing: the whole reference.",
    ),
]


def explain(call: Call, key: Key = None) -> ExitCode:
    """Explain a key of the cluster file, or a failure: what it means and what to do."""
    from dplaunch.diagnose import catalogue
    from dplaunch.diagnose import explain as find_signature
    from dplaunch.spec.explain import explain as part
    from dplaunch.spec.reference import reference
    from dplaunch.view import diagnosis as drawing

    signature = find_signature(key) if key else None
    if signature:
        call.screen.present(drawing.explained(signature), drawing.signature_json(signature))
        return ExitCode.DONE
    try:
        text = reference() if key is None else part(key, [one.id for one in catalogue()])
    except UsageError as unknown:
        said = f"'{key}' is no key of the cluster file and no failure that is known"
        raise UsageError(said, hint=unknown.hint) from unknown
    call.screen.present(text.rstrip(), {"key": key, "text": text})
    return ExitCode.DONE
