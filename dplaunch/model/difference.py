"""What differs between a plan and what runs."""

from __future__ import annotations

from msgspec import Struct


class Difference(Struct, frozen=True, kw_only=True):
    """A file, or the arguments of processes (``processes`` are named then), that is equal on all ``nodes``.

    ``removed`` and ``added`` are lines of the file, or words of the command line.
    """

    nodes: tuple[str, ...]
    path: str = ""
    processes: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
