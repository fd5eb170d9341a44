"""``dplaunch import``: a cluster file from the scripts and files of another launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="[HOST=]FILE...",
        help="Read these files. HOST (or a range, 192.0.2.[1-4]) is the machine that runs the file; without "
        "it, header lines `# HOST` in the file say where each part runs.",
        show_default=False,
    ),
]
Out = Annotated[Path, option("--out", "-O", help="Write the cluster file here.")]
Force = Annotated[bool, option("--force", help="Overwrite an existing file.")]
Name = Annotated[
    str, option("--name", metavar="NAME", help="Name the cluster (default: its model).", show_default=False)
]
Hosts = Annotated[
    str,
    option(
        "--hosts",
        metavar="RANGE",
        help="Use these hosts for a file that counts nodes without naming them (default: as it has them).",
        show_default=False,
    ),
]
Release = Annotated[
    str,
    option(
        "--engine-version",
        metavar="VERSION",
        help="Write scripts for this release (default: what the source fits, else the newest known).",
        show_default=False,
    ),
]


def import_(  # noqa: PLR0913 - the flags that operators need, one line each
    call: Invocation,
    files: Files,
    out: Out = Path("cluster.yaml"),
    name: Name = "",
    hosts: Hosts = "",
    engine_version: Release = "",
    force: Force = False,
) -> ExitCode:
    """Make a cluster file of existing scripts, and compare rank by rank what both start. Run nothing."""
    from dplaunch.importer import Wanted, bring
    from dplaunch.ranges import expand
    from dplaunch.view import imported as drawing
    from dplaunch.workspace import write_by_rename

    if out.exists() and not force:
        raise UsageError(
            f"{out} already exists", hint="choose another name with -O, or overwrite it with --force"
        )
    named = tuple((host, path) for host, _, path in (word.rpartition("=") for word in files))
    machines = expand(hosts) if hosts else ()
    wanted = Wanted(named, name, engine_version, machines, str(out))
    found = bring(wanted, lambda path: Path(path).expanduser().read_text(encoding="utf-8"))
    write_by_rename(out, found.text)
    human = drawing.render(found, str(out), verbose=bool(call.screen.verbose))
    call.screen.present(human, drawing.to_json(found, str(out)))
    return ExitCode.DONE if found.complete else ExitCode.FAILED
