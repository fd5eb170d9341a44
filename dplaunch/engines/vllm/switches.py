"""Switches: what reads them from which version on, and until when; vLLM's own are in ``switches.json``.

vLLM's rows were looked up in 0.9.1, 0.11.0, 0.13.0, 0.18.0 and 0.23.0: between two of those a bound is the
later one, and ``lacking`` is the last version looked at without the switch. JSON: every start reads them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dplaunch.engines.versions import at_least

ENV = "env"
KEY = "key"
"""A key of ``--additional-config``; dots lead into its sections."""
FLAG = "flag"
PROXY = "proxy"
"""A flag of a router script that the engine brings."""

IGNORED = "ignored"
REFUSED = "refused"
"""The program does not start with it."""
RESET = "reset"
"""The engine takes it and switches it off."""

ALWAYS = ""
NEVER = "0.0.0"
"""As ``gone``: no version reads it."""


class Switch(NamedTuple):
    """One switch. ``gone`` is the first version without it.

    ``kept_by`` is a connector that reads it longer, until ``kept_until``.
    """

    name: str
    kind: str
    source: str
    first: str = ALWAYS
    gone: str = ALWAYS
    instead: str = ""
    effect: str = IGNORED
    lacking: str = ""
    kept_by: str = ""
    kept_until: str = ""

    def begun(self, version: str) -> bool:
        """That version has it already, or that is not known."""
        if not self.first or at_least(version, self.first):
            return True
        return bool(self.lacking) and not at_least(self.lacking, version)

    def ended(self, version: str) -> bool:
        """That version has it no more."""
        return bool(self.gone) and at_least(version, self.gone)

    def kept(self, version: str, connectors: Collection[str]) -> bool:
        """One of these connectors reads it in that version."""
        too_new = bool(self.kept_until) and at_least(version, self.kept_until)
        return self.kept_by in connectors and not too_new

    def lives(self, version: str) -> bool:
        """That version has it."""
        return self.begun(version) and not self.ended(version)


def read(groups: Iterable[Mapping[str, Any]]) -> tuple[Switch, ...]:
    """The switches of a table: ``rows`` by name, each group of them with what all its rows share."""
    return tuple(
        Switch(name=name, **shared, **row)
        for group in groups
        for shared in [{key: value for key, value in group.items() if key != "rows"}]
        for name, row in group["rows"].items()
    )


VLLM = read(json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")))
"""What vLLM reads itself, on any hardware."""
