"""The command line: one small file per verb, each arguments → one walk → one view → exit code."""

from __future__ import annotations

import os


def main() -> None:
    """Entry point of ``dplaunch``."""
    # Here, so that importing a part of the cli costs no more than that part.
    from dplaunch.cli.app import app
    from dplaunch.cli.completion import COMPLETE, prepare

    if COMPLETE in os.environ:
        prepare()
    app()
