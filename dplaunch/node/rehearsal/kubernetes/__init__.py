"""Stand-in for kubectl and the cluster behind it: objects are files of a folder, pods follow from their jobs.

A pod's container runs in whoever follows its log: it ends with ``kubectl logs -f``. Its own knobs (those of
every stand-in: see the package above):

=================== ==========================================================================================
REFUSE              name of an object that the API server does not take
UNPLACED            name of a pod that no machine takes
=================== ==========================================================================================
"""

from __future__ import annotations

__all__ = ["main"]


def main(words: list[str]) -> int:
    """One call: the folder, then kubectl's own words; the exit code."""
    from .kubectl import run  # noqa: PLC0415 - only what was asked for

    return run(words)
