"""``dplaunch init``: a starting file from one of the shipped examples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError

Preset = Annotated[str | None, option("--preset", help="Start from this example (default: ask).")]
Hosts = Annotated[
    str | None,
    option("--hosts", metavar="RANGE", help="Use these hosts, e.g. 10.0.0.[1-8] or h1,h2,h3 (default: ask)."),
]
Out = Annotated[Path, option("--out", "-O", help="Write to this file.")]
Force = Annotated[bool, option("--force", help="Overwrite an existing file.")]


def init(
    call: Invocation,
    preset: Preset = None,
    hosts: Hosts = None,
    out: Out = Path("cluster.yaml"),
    force: Force = False,
) -> ExitCode:
    """Write a starting cluster file from a shipped example, with your hosts in it."""
    from dplaunch.workspace.presets import fill_preset, list_presets

    if out.exists() and not force:
        raise UsageError(
            f"{out} already exists", hint="choose another name with -O, or overwrite it with --force"
        )
    known = list_presets()
    chosen = preset or _ask(
        call, "Which example?\n" + "\n".join(f"  {name}: {about}" for name, about in known.items())
    )
    text = fill_preset(chosen, hosts or _hosts(call, chosen))
    out.write_text(text, encoding="utf-8")
    done = f"wrote {out}; edit it, then run `dplaunch plan {out}` and `dplaunch up --rehearse {out}`"
    call.screen.present(done, {"file": str(out), "preset": chosen})
    return ExitCode.DONE


def _hosts(call: Invocation, preset: str) -> str | None:
    """The user's hosts, asked for on a terminal; None keeps those of the example."""
    if call.yes or not sys.stdin.isatty():
        return None
    return (
        _ask(call, f"Your hosts for {preset}, as in 10.0.0.[1-8]? (Enter keeps those of the example)") or None
    )


def _ask(call: Invocation, question: str) -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "--preset is missing, and without a terminal no question can be asked",
            hint="dplaunch init --preset laptop",
        )
    call.screen.say(question)
    return sys.stdin.readline().strip()
