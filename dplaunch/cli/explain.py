"""``dplaunch explain WORD``: a key of the cluster file, a word of ours, or a failure by code or line."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode, UsageError

Key = Annotated[
    str | None,
    typer.Argument(
        metavar="WORD",
        help="Explain a key like roles.decode.dp, a word like group, a code like EI0006 or a log line "
        "(default: every key).",
    ),
]


def explain(call: Invocation, key: Key = None) -> ExitCode:
    """Explain a key of the cluster file, a word, or what a failure means and what to do."""
    from dplaunch.diagnose import catalogue, is_code
    from dplaunch.diagnose import explain as find_signature
    from dplaunch.spec.explain import explain as part
    from dplaunch.spec.reference import reference
    from dplaunch.view import diagnosis as drawing

    signature = find_signature(key) if key else None
    if signature:
        call.screen.present(drawing.render_signature(signature), drawing.signature_json(signature))
        return ExitCode.DONE
    try:
        guesses = [one.id for one in catalogue() if not is_code(one.id)]
        text = reference() if key is None else part(key, guesses)
    except UsageError as unknown:
        raise _unknown(key or "", unknown.hint) from unknown
    call.screen.present(text.rstrip(), {"key": key, "text": text})
    return ExitCode.DONE


def _unknown(word: str, guess: str) -> UsageError:
    """Return the error for a word without an entry. A code gets no guess: its neighbours are other errors."""
    from dplaunch.diagnose import catalogue, is_code, read_message

    if is_code(word):
        hint = "a code often has several causes: explain the whole log line, `dplaunch explain 'LINE'`"
        return UsageError(f"the catalogue has no error code '{word.strip()}'", hint=hint)
    if " " in word.strip():
        hint = "`dplaunch diagnose --from DIR` reads whole logs and shows which line came first"
        return UsageError(
            f"the catalogue does not know this line; its message is: {read_message(word)}", hint=hint
        )
    related = [one.id for one in catalogue() if word.lower() in one.id.lower()]
    hint = f"failures of that name are: {', '.join(related)}" if related else guess
    return UsageError(f"'{word}' is neither a key of the cluster file nor a known word or failure", hint=hint)
