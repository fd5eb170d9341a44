"""``dplaunch init``: a starting file from one of the shipped examples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from dplaunch.cli.verb import Call, option
from dplaunch.errors import ExitCode, UsageError

Preset = Annotated[str | None, option("--preset", help="An example to start from; nothing: asks.")]
Hosts = Annotated[
    str | None, option("--hosts", metavar="RANGE", help="Your hosts: 10.0.0.[1-8] or h1,h2,h3.")
]
Out = Annotated[Path, option("--out", "-O", help="The file to write.")]
Force = Annotated[bool, option("--force", help="Write over a file that is there.")]


def init(
    call: Call,
    preset: Preset = None,
    hosts: Hosts = None,
    out: Out = Path("cluster.yaml"),
    force: Force = False,
) -> ExitCode:
    """Write a starting cluster file from a shipped example, with your hosts in it."""
    from dplaunch.workspace.presets import presets, written_for

    if out.exists() and not force:
        raise UsageError(f"{out} is there already", hint="give another name with -O, or --force")
    known = presets()
    chosen = preset or _ask(
        call, "Which example?\n" + "\n".join(f"  {name}: {about}" for name, about in known.items())
    )
    text = written_for(chosen, hosts or _hosts(call, chosen))
    out.write_text(text, encoding="utf-8")
    said = f"wrote {out}; look at it, then `dplaunch plan {out}` and `dplaunch up --rehearse {out}`"
    call.screen.present(said, {"file": str(out), "preset": chosen})
    return ExitCode.DONE


def _hosts(call: Call, preset: str) -> str | None:
    """The user's hosts, asked for where somebody can answer; else the example's own stay."""
    if call.yes or not sys.stdin.isatty():
        return None
    return _ask(call, f"Your hosts for {preset}, as in 10.0.0.[1-8]? (Enter: leave the example's)") or None


def _ask(call: Call, question: str) -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "no --preset was given, and nobody can answer here", hint="dplaunch init --preset laptop"
        )
    call.screen.say(question)
    return sys.stdin.readline().strip()
