"""How the cluster is: one sentence, the odd ones out, a table per role and node; ``-v``: per process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.observed import Observed
from dplaunch.model.plan import Plan
from dplaunch.model.summary import Health, Summary
from dplaunch.ranges import families, fold, ranges
from dplaunch.view import style
from dplaunch.view.records import MISSING, UNKNOWN, Record, records
from dplaunch.view.sheet import Sheet, sheet
from dplaunch.words import plural

_COLOUR = {
    Health.SERVING: style.GOOD,
    Health.STARTING: style.ODD,
    Health.DEGRADED: style.BAD,
    Health.DOWN: style.BAD,
    Health.UNKNOWN: style.ODD,
}


def drawn(plan: Plan, observed: Observed, summary: Summary, *, verbose: int = 0) -> RenderableType:
    """Everything about a cluster on one screen."""
    found = records(plan, observed)
    parts: list[RenderableType] = [headline(plan, summary)]
    parts += _remarks(observed, summary)
    parts += _unproved(summary)
    parts += _odd(found, down=summary.state in (Health.DOWN, Health.UNKNOWN))
    if found and summary.state is not Health.DOWN:
        parts += [Text(""), _per_process(found) if verbose else _per_node(found)]
        parts += _logs(found) if verbose else ()
    return Group(*parts)


def headline(plan: Plan, summary: Summary) -> Text:
    """``deepseek-r1: serving — 72 of 72 engines ready, router ok, http://…``."""
    proved = summary.proof is not None and summary.proof.holds
    word, colour = summary.state.value, _COLOUR[summary.state]
    if summary.stale and summary.state is not Health.DOWN:
        word, colour = f"{word}, but by another plan than this file's", style.ODD
    elif summary.state is Health.SERVING and not proved:
        word, colour = f"{word}, not proved", style.ODD
    said = Text.assemble((plan.cluster, style.HEAD), ": ", (word, colour))
    if summary.state is Health.DOWN:
        return said.append(" — nothing of it runs")
    ready = sum(role.engines_ready for role in summary.roles)
    engines = sum(role.engines for role in summary.roles)
    facts = [f"{ready} of {plural(engines, 'engine')} ready"]
    if summary.router_ok is not None:
        facts.append("router ok" if summary.router_ok else "router not ready")
    return said.append(f" — {', '.join([*facts, plan.url])}")


def to_json(plan: Plan, observed: Observed, summary: Summary) -> dict[str, Any]:
    """The stable form.

    ``{cluster, revision, state, endpoint, model, nodes, processes, router, held, proof}``
    """
    processes = [_process(record) for record in records(plan, observed)]
    return {
        "cluster": plan.cluster,
        "revision": plan.revision,
        "state": summary.state.value,
        "endpoint": plan.url,
        "model": plan.served_model_name,
        "nodes": _nodes(plan, observed),
        "processes": processes,
        "router": next((p for p in processes if p["role"] == "router"), None),
        "held": list(summary.held),
        "proof": _proof(summary),
    }


def _proof(summary: Summary) -> dict[str, Any] | None:
    if summary.proof is None:
        return None
    proof = summary.proof
    return {
        "holds": proof.holds,
        "verb": proof.verb,
        "who": proof.who,
        "age": round(proof.age, 1),
        "reason": proof.reason or None,
    }


def _nodes(plan: Plan, observed: Observed) -> list[dict[str, Any]]:
    answers = {node.name: node for node in observed.nodes}
    names = [node.name for node in plan.nodes]
    return [
        {
            "name": name,
            "reached": name in answers,
            "reason": observed.unreached.get(name),
            "hostname": answers[name].hostname if name in answers else None,
        }
        for name in names
    ]


def _process(record: Record) -> dict[str, Any]:
    seen = record.seen
    return {
        "name": record.name,
        "process": record.process,
        "kind": record.kind,
        "role": record.role,
        "group": record.group,
        "node": record.node,
        "state": record.state,
        "planned": record.expected,
        "pid": seen.pid if seen and seen.pid else None,
        "healthy": record.healthy,
        "started_at": seen.started_at if seen and seen.started_at else None,
        "exit_code": seen.exit_code if seen else None,
        "signal": (seen.signal if seen else "") or None,
        "restarts": seen.restarts if seen else 0,
        "log": (seen.log if seen else "") or None,
        "url": record.url or None,
    }


def _remarks(observed: Observed, summary: Summary) -> list[Text]:
    """Nodes that did not answer, by reason; nodes with another plan; groups that clients do not reach."""
    reasons: dict[str, list[str]] = {}
    for node, reason in observed.unreached.items():
        reasons.setdefault(reason, []).append(node)
    said = [_unreached(nodes, reason) for reason, nodes in reasons.items()]
    if summary.stale:
        nodes = fold(summary.stale)
        text = ": run another plan than this file's; `dplaunch up --dry-run` shows what differs"
        said.append(Text.assemble(("changed ", style.ODD), (nodes, style.HEAD), text))
    if summary.held and summary.state is not Health.DOWN:
        which = "it" if len(summary.held) == 1 else "them"
        text = f": not open to clients yet; run `dplaunch up` to prove and open {which}"
        said.append(Text.assemble(("held ", style.ODD), (fold(summary.held), style.HEAD), text))
    return said


def _unproved(summary: Summary) -> list[Text]:
    """Why an answer of /health is not all: only where all of them are good."""
    proof = summary.proof
    if summary.state is not Health.SERVING or (proof and proof.holds):
        return []
    if proof is None:
        return [Text("/health answers everywhere, but no completion was asked for yet: `dplaunch test` does")]
    what = f"{proof.verb} by {proof.who} failed {durations.describe(proof.age)} ago"
    return [Text.assemble((what, style.BAD), f": {style.plain(proof.reason)}; `dplaunch test` asks again")]


def _unreached(nodes: Sequence[str], reason: str) -> Text:
    named = "" if len(nodes) == 1 and nodes[0] in reason else f" {fold(nodes)}"
    return Text.assemble(("not reached", style.BAD), (named, style.HEAD), f": {style.plain(reason)}")


def _odd(found: Sequence[Record], *, down: bool) -> list[Text]:
    """Processes that are not as they should be, equal ones folded, the rarest first; loading is not odd."""
    expected = {UNKNOWN, MISSING} if down else {UNKNOWN}
    kinds: dict[tuple[str, str], list[Record]] = {}
    for record in found:
        if record.odd and record.state not in expected and not record.awaited:
            kinds.setdefault((record.word, record.role), []).append(record)
    return [_oddity(word, alike) for (word, _), alike in sorted(kinds.items(), key=lambda kind: len(kind[1]))]


def _oddity(word: str, alike: Sequence[Record]) -> Text:
    first = alike[0]
    pids = {pid for record in alike if record.seen for pid in record.seen.left}
    facts = [f"pids {ranges(pids)}"] if pids else []
    facts += [f"{durations.describe(first.ended)} ago"] if first.ended else []
    more = f" ({'; '.join(facts)})" if facts else ""
    alone = len({record.process for record in alike}) == 1
    log = f", log {first.node}:{first.seen.log}" if alone and first.ended and first.seen else ""
    names, nodes = fold(record.name for record in alike), fold(record.node for record in alike)
    said = (word, style.ODD if first.serves else style.BAD)
    return Text.assemble((names, style.HEAD), f" on {nodes}: ", said, more, log)


def _per_node(found: Sequence[Record]) -> Sheet:
    """A row per role and node; nodes with equal counts and states share one; the odd ones come first."""
    rows: dict[tuple[str, ...], list[Record]] = {}
    for members in _by_node(found):
        key = (members[0].role, _state(members), str(len(members)))
        rows.setdefault(key, []).extend(members)
    ordered = sorted(rows.items(), key=lambda row: not any(record.odd for record in row[1]))
    cells = [_node_row(state, alike) for (_, state, _), alike in ordered]
    return sheet(("ROLE", "NODES", "GROUPS", "READY", "STATE", "UP"), cells, flex=("NODES", "STATE"))


def _node_row(state: str, alike: Sequence[Record]) -> tuple[str | Text, ...]:
    groups = ranges(int(n) for n in {record.group.rpartition("/")[2] for record in alike} if n.isdigit())
    # the youngest: nothing was restarted since then
    up = min((record.age for record in alike if record.age), default=None)
    return (
        alike[0].role,
        fold(record.node for record in alike),
        groups or "-",
        f"{sum(record.serves for record in alike)}/{len(alike)}",
        Text(state, _colour(alike)),
        "-" if up is None else durations.describe(up),
    )


def _by_node(found: Iterable[Record]) -> list[list[Record]]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in found:
        groups.setdefault((record.role, record.node), []).append(record)
    return list(groups.values())


def _state(members: Sequence[Record]) -> str:
    """One word when all are alike, else counts, the odd ones first."""
    words = Counter((not record.odd, record.word) for record in members)
    if len(words) == 1:
        return members[0].word
    return "; ".join(f"{words[key]} {key[1]}" for key in sorted(words))


def _colour(alike: Sequence[Record]) -> str:
    if not any(record.odd for record in alike):
        return style.GOOD
    return style.ODD if all(record.serves or record.awaited for record in alike) else style.BAD


_HEADS = ("NAME", "NODE", "RANK", "PID", "PORT", "STATE", "UP", "RESTARTS")


def _per_process(found: Sequence[Record]) -> Sheet:
    ordered = sorted(found, key=lambda record: not record.odd)
    return sheet(_HEADS, [_row(record) for record in ordered], flex=("NAME", "NODE", "STATE"))


def _row(record: Record) -> tuple[str | Text, ...]:
    seen = record.seen
    return (
        record.name,
        record.node,
        ranges(record.ranks) or "-",
        str(seen.pid) if seen and seen.pid else "-",
        record.url.rpartition(":")[2] or "-",
        Text(record.word, _colour([record])),
        durations.describe(record.age) if record.age else "-",
        str(seen.restarts) if seen else "-",
    )


def _logs(found: Sequence[Record]) -> list[Text]:
    """Where the logs are: one line per pattern, NAME and NODE standing for themselves."""
    paths = dict.fromkeys(
        record.seen.log.replace(f"/{record.node}/proc/{record.process}/", "/NODE/proc/NAME/")
        for record in found
        if record.seen and record.seen.log
    )
    return [Text(""), *(Text.assemble(("log on each node  ", style.DIM), path) for path in families(paths))]
