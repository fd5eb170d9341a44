"""Who did what to the cluster, and who holds its lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

from msgspec import to_builtins
from rich.console import RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.trail import Entry, Lock
from dplaunch.view import style
from dplaunch.view.table import tabulate
from dplaunch.words import plural


def render_audit(entries: Sequence[Entry], *, zone: tzinfo | None = None) -> RenderableType:
    """A row per entry, oldest first; times in ``zone`` (default: local)."""
    if not entries:
        return Text("nothing has been recorded for this cluster yet")
    rows = [
        (_date(entry.at, zone), *map(style.plain, (entry.who, entry.verb, _outcome(entry), entry.revision)))
        for entry in entries
    ]
    return tabulate(("WHEN", "WHO", "VERB", "OUTCOME", "REVISION"), rows, flex=("WHO", "OUTCOME"))


def audit_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """``{"entries": [{at, who, verb, result, revision, reason, unproved, started, phases}]}``."""
    return {"entries": [{**to_builtins(entry), "result": entry.result.value} for entry in entries]}


def render_lock(node: str, held: Lock | None, *, zone: tzinfo | None = None) -> Text:
    """Who holds the lock kept on ``node``."""
    if held is None:
        return Text(f"the lock is free (kept on {node})")
    holder, verb = style.plain(held.holder), style.plain(held.verb)
    since = _date(held.since, zone)
    return Text.assemble(
        "held by ", (holder, style.WARN), f": `dplaunch {verb}` since {since}, lock on {node}"
    )


def lock_json(node: str, held: Lock | None) -> dict[str, Any]:
    """``{"node": …, "lock": {holder, verb, since} or null}``."""
    return {"node": node, "lock": None if held is None else to_builtins(held)}


def _outcome(entry: Entry) -> str:
    """``ready, 72 processes started in 16 min 02 s``; `dplaunch analyze` breaks that time down."""
    words = [f"{entry.result.value}: {entry.reason}" if entry.reason else entry.result.value]
    if entry.started:
        took = durations.describe(sum(entry.phases.values()))
        words.append(f"{plural(entry.started, 'process')} started in {took}")
    if entry.unproved:
        words.append(f"still not proved: {entry.unproved}")
    return ", ".join(words)


def _date(at: float, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(at, zone).astimezone(zone):%Y-%m-%d %H:%M:%S}" if at else "-"
