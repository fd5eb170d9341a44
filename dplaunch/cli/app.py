"""The app: every verb by its name. A verb imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dplaunch import __version__
from dplaunch.cli.analyze import analyze
from dplaunch.cli.audit import audit
from dplaunch.cli.check import check
from dplaunch.cli.completion import completion
from dplaunch.cli.diagnose import diagnose
from dplaunch.cli.down import down
from dplaunch.cli.exec_ import ExecCommand, exec_
from dplaunch.cli.explain import explain
from dplaunch.cli.export import export
from dplaunch.cli.import_ import import_
from dplaunch.cli.init import init
from dplaunch.cli.lock import lock
from dplaunch.cli.logs import logs
from dplaunch.cli.ls import ls
from dplaunch.cli.plan import plan
from dplaunch.cli.ranktable import ranktable
from dplaunch.cli.render import render
from dplaunch.cli.restart import restart
from dplaunch.cli.schema import schema
from dplaunch.cli.status import status
from dplaunch.cli.test_ import test_
from dplaunch.cli.up import up
from dplaunch.cli.validate import validate
from dplaunch.cli.verb import CLUSTER, option, verb

ABOUT = "Start, prove, watch and stop a multi-node LLM serving cluster that one YAML file describes."

app = typer.Typer(
    name="dplaunch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DPLAUNCH"},
    epilog="Every option can also be set as DPLAUNCH_VERB_OPTION, for example DPLAUNCH_UP_TIMEOUT=30m.",
    help=ABOUT,
)

START, LOOK, PLAN, TOOLS = "Start and stop", "Look", "Plan", "Tools"
"""Headings of the help."""

app.command(rich_help_panel=START)(verb(up, asks=True))
app.command(rich_help_panel=START)(verb(restart, targets=True, asks=True))
app.command(rich_help_panel=START)(verb(down, asks=True))

app.command(rich_help_panel=LOOK)(verb(status))
app.command(rich_help_panel=LOOK)(verb(ls, targets=True, hide=CLUSTER))
app.command("test", rich_help_panel=LOOK)(verb(test_))
app.command(rich_help_panel=LOOK)(verb(logs, targets=True, short_file=False))
app.command(rich_help_panel=LOOK)(verb(diagnose, targets=True))
app.command(rich_help_panel=LOOK)(verb(analyze, targets=True))
app.command(rich_help_panel=LOOK)(verb(lock))
app.command(rich_help_panel=LOOK)(verb(audit))

app.command(rich_help_panel=PLAN)(verb(init, targets=True, hide=CLUSTER, asks=True))
app.command("import", rich_help_panel=PLAN)(verb(import_, targets=True, hide=CLUSTER))
app.command(rich_help_panel=PLAN)(verb(validate))
app.command(rich_help_panel=PLAN)(verb(plan))
app.command(rich_help_panel=PLAN)(verb(render))
app.command(rich_help_panel=PLAN)(verb(export))
app.command(rich_help_panel=PLAN)(verb(check))
app.command(rich_help_panel=PLAN)(verb(ranktable))

app.command("exec", cls=ExecCommand, rich_help_panel=TOOLS)(verb(exec_, targets=True))
app.command(rich_help_panel=TOOLS)(verb(explain, targets=True, hide=CLUSTER))
app.command(rich_help_panel=TOOLS)(verb(schema, targets=True, hide=CLUSTER))
app.command(rich_help_panel=TOOLS)(verb(completion, targets=True, hide=CLUSTER))


def _version(value: bool) -> None:
    if value:
        from dplaunch.view.screen import Screen

        Screen(sys.stdout, sys.stderr).write(f"dplaunch {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Holds the options that come before a verb; its help is ``ABOUT``."""
