"""Who did what to the cluster, and who holds it now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo

from rich.console import RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.view import style
from dplaunch.view.sheet import sheet

_FIRST = ("at", "who", "verb", "outcome", "revision")


def audit(entries: Iterable[Mapping[str, object]], *, zone: tzinfo | None = None) -> RenderableType:
    """Entries {at, who, verb, outcome, revision, …}, oldest first; times in ``zone`` (default: local)."""
    ordered = sorted(entries, key=lambda entry: _moment(entry.get("at")))
    if not ordered:
        return Text("nothing was recorded on this cluster yet")
    rows = [(_date(_moment(entry.get("at")), zone), *_words(entry)) for entry in ordered]
    return sheet(("WHEN", "WHO", "VERB", "OUTCOME", "PLAN"), rows, flex=("WHO", "OUTCOME"))


def lock(node: str, held: Mapping[str, object], *, zone: tzinfo | None = None) -> Text:
    """Who holds the lock kept on ``node``: {holder, what, since}; empty when it is free."""
    if not held:
        return Text(f"nobody holds the lock (kept on {node})")
    holder, what = style.plain(str(held.get("holder", "somebody"))), style.plain(str(held.get("what", "?")))
    since = _date(_moment(held.get("since")), zone)
    return Text.assemble(
        "held by ", (holder, style.ODD), f": `dplaunch {what}` since {since}, lock on {node}"
    )


def _words(entry: Mapping[str, object]) -> tuple[str, ...]:
    more = " ".join(_word(key, value) for key, value in entry.items() if key not in _FIRST)
    who, verb, outcome, revision = (style.plain(str(entry.get(key, "-"))) for key in _FIRST[1:])
    return who, verb, f"{outcome} {style.plain(more)}".rstrip(), revision


def _word(key: str, value: object) -> str:
    """``started=72``; the phases of a start as their sum, `dplaunch analyze` shows them."""
    if key == "phases" and isinstance(value, Mapping):
        return f"in {durations.describe(sum(map(_moment, value.values())))}"
    return f"{key}={value}"


def _date(at: float, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(at, zone).astimezone(zone):%Y-%m-%d %H:%M:%S}" if at else "-"


def _moment(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
