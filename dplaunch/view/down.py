"""What ``down`` stopped and what it could not stop; usual endings folded, others named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from dplaunch import durations
from dplaunch.model.event import Stopped
from dplaunch.model.plan import Plan
from dplaunch.ranges import fold, grouped
from dplaunch.view import style
from dplaunch.words import plural


def render(
    plan: Plan, verdicts: Sequence[Stopped], unreached: Sequence[str], kept: Sequence[str] = ()
) -> Text:
    """One line per role, what is left by pid and command, unreachable nodes, the verdict.

    ``kept``: nodes on which something stays although it was not to run; notes have given the reasons.
    """
    by_role = grouped((re.sub(r"-\d+$", "", verdict.process), verdict) for verdict in verdicts)
    parts = [_role(role, stopped) for role, stopped in by_role.items()]
    parts += [_left(verdict) for verdict in verdicts if verdict.left]
    if unreached:
        text = ": what runs there keeps running; run `dplaunch down` again once it can be reached"
        parts.append(Text.assemble(("unreachable ", style.BAD), fold(unreached), text))
    return style.lines(*parts, Text(f"{plan.title}: ").append_text(_end(plan, verdicts, unreached, kept)))


def to_json(
    verdicts: Sequence[Stopped], unreached: Sequence[str], kept: Sequence[str] = ()
) -> dict[str, Any]:
    """``{clean, stopped: [{name, node, how, seconds, left}], unreached, kept}``."""
    stopped = [
        {
            "name": v.process,
            "node": v.node,
            "how": v.how,
            "seconds": round(v.seconds, 3),
            "left": list(v.left),
        }
        for v in verdicts
    ]
    clean = not unreached and not kept and not any(verdict.left for verdict in verdicts)
    return {"clean": clean, "stopped": stopped, "unreached": list(unreached), "kept": list(kept)}


def _role(role: str, verdicts: Sequence[Stopped]) -> Text:
    """``decode: 64 stopped (TERM 62, KILL 2: decode-[3-4]) in 3.1 s``."""
    freed = [verdict for verdict in verdicts if not verdict.left]
    hows = Counter(verdict.how for verdict in freed if verdict.how)
    usual = hows.most_common(1)[0][0] if hows else ""
    endings = [_how(how, count, freed, usual) for how, count in hows.most_common()]
    count = (
        f"{len(freed)} of {len(verdicts)} stopped" if len(freed) < len(verdicts) else f"{len(freed)} stopped"
    )
    took = durations.describe(max(verdict.seconds for verdict in verdicts))
    return Text(f"{role}: {count}" + (f" ({', '.join(endings)})" if endings else "") + f" in {took}")


def _how(how: str, count: int, verdicts: Sequence[Stopped], usual: str) -> str:
    if how == usual:
        return f"{how} {count}"
    return f"{how} {count}: {fold(verdict.process for verdict in verdicts if verdict.how == how)}"


def _left(verdict: Stopped) -> Text:
    what = "; ".join(style.plain(left) for left in verdict.left)
    return Text.assemble(("left ", style.BAD), f"on {verdict.node} by {verdict.process}: {what}")


def _end(plan: Plan, verdicts: Sequence[Stopped], unreached: Sequence[str], kept: Sequence[str]) -> Text:
    left = [verdict for verdict in verdicts if verdict.left]
    unseen = [process for process in plan.processes if process.node in unreached]
    if not left and not unreached and not kept:
        stopped = (
            f"{plural(len(verdicts), 'process')} stopped; nothing is left" if verdicts else "nothing runs"
        )
        return Text(stopped, style.GOOD if verdicts else "")
    total = len(verdicts) + len(unseen)
    facts = [f"{len(verdicts) - len(left)} of {plural(total, 'process')} stopped"] if total else []
    if left:
        facts.append(f"{len(left)} still running on {fold({verdict.node for verdict in left})}")
    if unreached:
        may = f"{len(unseen)} may still run on " if unseen else ""
        facts.append(f"{may}{fold(unreached)} (unreachable)")
    if kept:
        facts.append(f"not everything is gone from {fold(kept)}")
    return Text.assemble((f"INCOMPLETE: {'; '.join(facts)}", style.BAD), "; run `dplaunch down` again")
