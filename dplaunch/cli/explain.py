"""``dplaunch explain WORD``: a key of the cluster file, or a failure by its code, name or log line."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode, UsageError

Key = Annotated[
    str | None,
    typer.Argument(
        metavar="[WORD]",
        help="Explain a key like roles.decode.dp, a code like EI0006 or a log line (default: every key).",
    ),
]


def explain(call: Invocation, key: Key = None) -> ExitCode:
    """Explain a key of the cluster file, or what a failure means and what to do."""
    from dplaunch.diagnose import catalogue
    from dplaunch.diagnose import explain as find_signature
    from dplaunch.spec.explain import explain as part
    from dplaunch.spec.reference import reference
    from dplaunch.view import diagnosis as drawing

    signature = find_signature(key) if key else None
    if signature:
        call.screen.present(drawing.render_signature(signature), drawing.signature_json(signature))
        return ExitCode.DONE
    try:
        text = reference() if key is None else part(key, [one.id for one in catalogue()])
    except UsageError as unknown:
        problem = f"'{key}' is neither a key of the cluster file nor a known failure"
        raise UsageError(problem, hint=unknown.hint) from unknown
    call.screen.present(text.rstrip(), {"key": key, "text": text})
    return ExitCode.DONE
