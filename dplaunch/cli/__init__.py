"""The command line: a small file per verb that turns arguments into a walk, a view and an exit code."""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED = 130
"""``ExitCode.INTERRUPTED``, which is not loaded yet."""


def main() -> None:
    """Entry point of ``dplaunch``."""
    # Loading makes many objects and no garbage. `cluster.load` enables the collector again;
    # verbs that load no cluster end before it would matter.
    gc.disable()
    try:
        _run()
    except SystemExit as end:
        leave(end.code)
    except KeyboardInterrupt:  # a verb reports it; until it has begun nothing is changed
        leave(INTERRUPTED)


def _run() -> None:
    # Imported here, so that importing one part of the cli costs no more than that part.
    from dplaunch.cli.app import app
    from dplaunch.cli.completion import COMPLETE, prepare

    if COMPLETE in os.environ:
        prepare()
    app()


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
