"""The app: every verb by its name, nothing else. Rooms below are imported by the verb that runs."""

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
from dplaunch.cli.exec_ import exec_
from dplaunch.cli.explain import explain
from dplaunch.cli.init import init
from dplaunch.cli.lock import lock
from dplaunch.cli.logs import logs
from dplaunch.cli.plan import plan
from dplaunch.cli.render import render
from dplaunch.cli.restart import restart
from dplaunch.cli.schema import schema
from dplaunch.cli.status import status
from dplaunch.cli.test_ import test_
from dplaunch.cli.up import up
from dplaunch.cli.validate import validate
from dplaunch.cli.verb import option, verb

app = typer.Typer(
    name="dplaunch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DPLAUNCH"},
    epilog="Every option can be set as DPLAUNCH_VERB_OPTION: DPLAUNCH_UP_TIMEOUT=30m.",
    help="Brings up one LLM cluster from one file: data-parallel engines over SSH, router, proof, stop.",
)

app.command()(verb(init, targets=True))
app.command()(verb(validate))
app.command()(verb(plan))
app.command()(verb(render))
app.command()(verb(check))
app.command()(verb(up))
app.command()(verb(status))
app.command("test")(verb(test_))
app.command()(verb(logs, targets=True, short_file=False))
app.command()(verb(diagnose, targets=True))
app.command()(verb(analyze, targets=True))
app.command()(verb(down))
app.command()(verb(restart, targets=True))
app.command("exec", context_settings={"allow_interspersed_args": False})(verb(exec_, targets=True))
app.command()(verb(lock))
app.command()(verb(audit))
app.command()(verb(schema, targets=True))
app.command()(verb(explain, targets=True))
app.command()(verb(completion, targets=True))


def _version(value: bool) -> None:
    if value:
        from dplaunch.view.screen import Screen

        Screen(sys.stdout, sys.stderr).write(f"dplaunch {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Brings up one LLM cluster from one file: data-parallel engines over SSH, router, proof, stop."""
