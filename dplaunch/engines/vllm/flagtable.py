"""The flags of a vLLM, from the tables that ``scripts/flag_tables.py`` reads out of its own parser."""

from __future__ import annotations

from pathlib import Path

from dplaunch.engines.flagtable import Flags, read

FOLDER = Path(__file__).parent / "flags"


def flags(version: str) -> Flags | None:
    """The flags of a vLLM; None for a version that lies before all tables."""
    return read(version, FOLDER)


def negatable(version: str, name: str) -> bool:
    """Whether that vLLM has a ``--no-`` form of the flag."""
    known = flags(version)
    return known is not None and known.negatable(name)
