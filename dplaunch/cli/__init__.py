"""The command line: one small file per verb, each arguments → one walk → one view → exit code."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Entry point of ``dplaunch``."""
    # Loading makes many objects and no rubbish. `cluster.load` puts the collector on again;
    # verbs that load no cluster are done before it would matter.
    gc.disable()
    # Here, so that importing a part of the cli costs no more than that part.
    from dplaunch.cli.app import app
    from dplaunch.cli.completion import COMPLETE, prepare

    if COMPLETE in os.environ:
        prepare()
    try:
        app()
    except SystemExit as end:
        leave(end.code)


def leave(code: str | int | None) -> None:
    """End now, with every word said.

    Threads may still wait for hosts that are silent: an interpreter that shuts down around them can
    abort (SIGABRT) on a lock that one of them holds.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read it is gone: there is nobody to tell
        os._exit(1)
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
