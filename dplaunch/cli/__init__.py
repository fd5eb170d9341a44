"""The command line: a small file per verb that turns arguments into a walk, a view and an exit code."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Entry point of ``dplaunch``."""
    # Loading makes many objects and no garbage. `cluster.load` enables the collector again;
    # verbs that load no cluster end before it would matter.
    gc.disable()
    # Imported here, so that importing one part of the cli costs no more than that part.
    from dplaunch.cli.app import app
    from dplaunch.cli.completion import COMPLETE, prepare

    if COMPLETE in os.environ:
        prepare()
    try:
        app()
    except SystemExit as end:
        leave(end.code)


def leave(code: str | int | None) -> None:
    """Flush both streams and end at once.

    Threads may still wait for hosts that are silent: an interpreter that shuts down around them can
    abort (SIGABRT) on a lock that one of them holds.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # the reader is gone, so nothing can be reported
        os._exit(1)
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)
