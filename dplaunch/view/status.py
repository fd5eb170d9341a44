"""The state of a cluster: a sentence, what needs attention, a row per role and node (``-v``: process)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import to_builtins
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch import durations
from dplaunch.model.observed import Observed
from dplaunch.model.plan import Plan
from dplaunch.model.summary import Cause, ClusterHealth, Lookups, Summary
from dplaunch.ranges import families, fold, grouped, ranges
from dplaunch.view import folding, style
from dplaunch.view.actions import render_differences
from dplaunch.view.records import MISSING, UNKNOWN, UnitStatus, records
from dplaunch.view.table import Table, tabulate
from dplaunch.words import plural

_COLOUR = {
    ClusterHealth.SERVING: style.GOOD,
    ClusterHealth.DONE: style.GOOD,
    ClusterHealth.CLOSED: style.BAD,
    ClusterHealth.STARTING: style.WARN,
    ClusterHealth.DEGRADED: style.BAD,
    ClusterHealth.OUTAGE: style.BAD,
    ClusterHealth.DOWN: style.BAD,
    ClusterHealth.UNKNOWN: style.WARN,
}


def render(plan: Plan, observed: Observed, summary: Summary, *, verbose: int = 0) -> RenderableType:
    """Everything about a cluster on one screen."""
    found = records(plan, observed, summary.out)
    parts: list[RenderableType] = [headline(plan, summary)]
    parts += _remarks(observed, summary)
    parts += _unproved(summary)
    parts += _troubles(found, down=summary.state in (ClusterHealth.DOWN, ClusterHealth.UNKNOWN))
    if found and summary.state is not ClusterHealth.DOWN:
        parts += [Text(""), _per_process(found) if verbose else _per_node(found, summary.out)]
        parts += _logs(found) if verbose else ()
    return Group(*parts)


def headline(plan: Plan, summary: Summary) -> Text:
    """``deepseek-r1: serving — 72 of 72 engines ready, router ok, http://…``; of an outage, its cause."""
    proved = summary.proof is not None and summary.proof.passed
    word, colour = summary.state.value, _COLOUR[summary.state]
    if summary.state is ClusterHealth.OUTAGE:
        word = "OUTAGE"
    if summary.stale and summary.state in (ClusterHealth.SERVING, ClusterHealth.STARTING):
        word, colour = f"{word}, but with another plan than this file's", style.WARN
    elif summary.state is ClusterHealth.SERVING and not proved:
        word, colour = f"{word}, not proved", style.WARN
    sentence = Text.assemble((plan.title, style.HEAD), ": ", (word, colour))
    if summary.state is ClusterHealth.DOWN:
        return sentence.append(" — nothing runs")
    if summary.state is ClusterHealth.DONE:
        return sentence.append(f" — {plural(len(plan.jobs), 'process')} ended with code 0")
    if summary.cause is not None:
        return sentence.append(
            f" — {_what_serves(summary)} ({describe_cause(summary.cause)}); {describe_remedy(summary.cause)}"
        )
    ready = sum(role.engines_ready for role in summary.roles)
    engines = sum(role.engines for role in summary.roles)
    running = plural(len(plan.jobs), "process")
    facts = [f"a job of {running}" if plan.is_job else f"{ready} of {plural(engines, 'engine')} ready"]
    if summary.router_ok is not None:
        facts.append("router ok" if summary.router_ok else "router not ready")
    facts += [plan.url] if plan.url else []
    return sentence.append(f" — {', '.join(facts)}")


def _what_serves(summary: Summary) -> str:
    """``no decode group serves``, ``1 of 2 decode groups serves``."""
    out = [role.role for role in summary.roles if not role.groups_ready]
    if summary.state is ClusterHealth.OUTAGE:
        return f"no {' and no '.join(out)} group serves" if out else "no client is served"
    partly = [role for role in summary.roles if role.groups_ready < role.groups]
    counts = [f"{r.groups_ready} of {plural(r.groups, f'{r.role} group')}" for r in partly]
    return f"{', '.join(counts)} serving" if counts else "every group serves"


def describe_cause(cause: Cause) -> str:
    """``decode-7 on d1 killed by SIGKILL 12 s ago``."""
    who = f"{cause.process} on {cause.node}" if cause.process else cause.node
    what = f" {cause.how}" if cause.how.startswith(("killed", "exited", "ended")) else f" is {cause.how}"
    return who + what + (f" {durations.describe(cause.ago)} ago" if cause.ago else "")


def describe_remedy(cause: Cause) -> str:
    """The command that mends it, or what else to do."""
    if not cause.process:
        return f"once {cause.node} is reachable again, run `dplaunch up`"
    verb = "up" if cause.mend == "up" else f"restart {cause.process}"
    return cause.hint or f"run `dplaunch {verb}`"


def cause_json(cause: Cause) -> dict[str, str]:
    """``{text, remedy}``."""
    return {"text": describe_cause(cause), "remedy": describe_remedy(cause)}


def to_json(plan: Plan, observed: Observed, summary: Summary) -> dict[str, Any]:
    """The stable form.

    ``{cluster, revision, state, outage, cause, endpoint, model, roles, nodes, processes, router, held,
    skipped_prefill, registered, lookups, differences, proof}``
    """
    processes = [_process(record) for record in records(plan, observed, summary.out)]
    return {
        "cluster": plan.cluster,
        "revision": plan.revision,
        "state": summary.state.value,
        "outage": summary.state is ClusterHealth.OUTAGE,
        "cause": summary.cause and cause_json(summary.cause),
        "endpoint": plan.url,
        "model": plan.served_model_name,
        "roles": [to_builtins(role) for role in summary.roles],
        "nodes": _nodes(plan, observed),
        "processes": processes,
        "router": next((p for p in processes if p["role"] == "router"), None),
        "held": list(summary.held),
        "skipped_prefill": summary.skipped_prefill,
        "registered": summary.registered,
        "lookups": summary.lookups and to_builtins(summary.lookups),
        "differences": [to_builtins(one) for one in summary.differences],
        "proof": _proof(summary),
    }


def _proof(summary: Summary) -> dict[str, Any] | None:
    if summary.proof is None:
        return None
    proof = summary.proof
    return {
        "holds": proof.passed,
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


def _process(record: UnitStatus) -> dict[str, Any]:
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
        "stuck": record.stuck or None,
        "group_out": record.group_out,
        "started_at": seen.started_at if seen and seen.started_at else None,
        "exit_code": seen.exit_code if seen else None,
        "signal": (seen.signal if seen else "") or None,
        "restarts": seen.restarts if seen else 0,
        "log": (seen.log if seen else "") or None,
        "url": record.url or None,
    }


def _remarks(observed: Observed, summary: Summary) -> list[Text]:
    """Unreachable nodes by reason; nodes with another plan; groups that are closed to clients."""
    reasons = grouped(
        (folding.mask(reason, node), (node, reason)) for node, reason in observed.unreached.items()
    )
    remarks = [_unreached(dict(alike)) for alike in reasons.values()]
    if summary.stale:
        nodes = fold(summary.stale)
        text = ": run another plan than this file's" + ("; the file changes" if summary.differences else "")
        remarks.append(Text.assemble(("changed ", style.WARN), (nodes, style.HEAD), text))
        remarks += render_differences(summary.differences)
    if summary.held and summary.state not in (ClusterHealth.DOWN, ClusterHealth.STARTING):
        which = "it" if len(summary.held) == 1 else "them"
        text = f": not open to clients yet; run `dplaunch up` to prove and open {which}"
        remarks.append(Text.assemble(("held ", style.WARN), (fold(summary.held), style.HEAD), text))
    if summary.skipped_prefill:
        count = plural(summary.skipped_prefill, "request")
        remarks.append(Text(f"{count} skipped prefill: decode engines computed the prompts themselves"))
    if summary.registered:
        remarks.append(Text(summary.registered))
    if summary.lookups and summary.lookups.asked:
        remarks.append(Text(_describe_lookups(summary.lookups)))
    return remarks


def _describe_lookups(lookups: Lookups) -> str:
    """``KV store: engines found 32,000 of the 80,000 prompt tokens that they looked up (40 %)``."""
    share = 100 * lookups.found / lookups.asked
    counts = f"{lookups.found:,} of the {lookups.asked:,} prompt tokens"
    return f"KV store: engines found {counts} that they looked up ({share:.0f} %)"


def _unproved(summary: Summary) -> list[Text]:
    """Why a healthy cluster is not proved; nothing where it is unhealthy or proved."""
    proof = summary.proof
    if summary.state not in (ClusterHealth.SERVING, ClusterHealth.CLOSED) or (proof and proof.passed):
        return []
    if proof is None:
        return [Text("every /health check passes, but no completion was requested yet; run `dplaunch test`")]
    ago = f"{durations.describe(proof.age)} ago"
    what = f"{proof.verb} by {proof.who} failed {ago}"
    if proof.earlier:
        what = f"{proof.verb} by {proof.who} proved only a part {ago}; a proof before it had failed"
    return [
        Text.assemble((what, style.BAD), f": {style.plain(proof.reason)}; run `dplaunch test` to check again")
    ]


def _unreached(reasons: Mapping[str, str]) -> Text:
    """Node → why it is unreachable, in sentences of one shape."""
    named = "" if all(node in reason for node, reason in reasons.items()) else f" {fold(reasons)}"
    text = folding.join(tuple(reasons.values()))
    return Text.assemble(("unreachable", style.BAD), (named, style.HEAD), f": {style.plain(text)}")


def _troubles(found: Sequence[UnitStatus], *, down: bool) -> list[Text]:
    """Processes that need attention, equal ones folded, the rarest first; those that load are left out."""
    expected = {UNKNOWN, MISSING} if down else {UNKNOWN}
    wrong = [
        record for record in found if record.unusual and record.state not in expected and not record.awaited
    ]
    kinds = grouped(((record.word, record.role, record.explanation), record) for record in wrong)
    return [
        _trouble(word, members)
        for (word, *_), members in sorted(kinds.items(), key=lambda kind: len(kind[1]))
    ]


def _trouble(word: str, members: Sequence[UnitStatus]) -> Text:
    first = members[0]
    pids = {pid for record in members if record.seen for pid in record.seen.left}
    facts = [f"pids {ranges(pids)}"] if pids else []
    facts += [f"{durations.describe(first.ended)} ago"] if first.ended else []
    more = f" ({'; '.join(facts)})" if facts else ""
    more += f": {style.plain(first.explanation)}" if first.explanation else ""
    alone = len({record.process for record in members}) == 1
    log = f", log {first.node}:{first.seen.log}" if alone and first.ended and first.seen else ""
    names, nodes = fold(record.name for record in members), fold(record.node for record in members)
    state = (word, style.WARN if first.serves else style.BAD)
    return Text.assemble((names, style.HEAD), f" on {nodes}: ", state, more, log)


def _per_node(found: Sequence[UnitStatus], out: Collection[str]) -> Table:
    """A row per role and node, or several that have equal counts and states; what needs attention first."""
    nodes = grouped(((record.role, record.node), record) for record in found).values()
    rows = grouped(((node[0].role, _state(node), len(node)), node) for node in nodes)
    folded = [(state, list(chain(*same))) for (_, state, _), same in rows.items()]
    folded.sort(key=lambda row: not any(record.unusual for record in row[1]))
    cells = [_node_row(state, members, out) for state, members in folded]
    return tabulate(
        ("ROLE", "NODES", "GROUPS", "GROUPS OK", "READY", "STATE", "UP"), cells, flex=("NODES", "STATE")
    )


def _node_row(state: str, members: Sequence[UnitStatus], out: Collection[str]) -> tuple[str | Text, ...]:
    mine = {record.group for record in members if record.group}
    groups = ranges(int(n) for n in {record.group.rpartition("/")[2] for record in members} if n.isdigit())
    # the youngest: nothing was restarted since then
    up = min((record.age for record in members if record.age), default=None)
    return (
        members[0].role,
        fold(record.node for record in members),
        groups or "-",
        f"{len(mine - set(out))}/{len(mine)}" if groups else "-",
        f"{sum(record.serves for record in members)}/{len(members)}",
        Text(state, _colour(members)),
        "-" if up is None else durations.describe(up),
    )


def _state(members: Sequence[UnitStatus]) -> str:
    """One word when all have the same state, else counts, those that need attention first."""
    words = Counter((not record.unusual, record.word) for record in members)
    if len(words) == 1:
        return members[0].word
    return "; ".join(f"{words[key]} {key[1]}" for key in sorted(words))


def _colour(members: Sequence[UnitStatus]) -> str:
    if any(record.group_out and record.serves for record in members):
        return style.WARN
    if not any(record.unusual for record in members):
        return style.GOOD
    return style.WARN if all(record.serves or record.awaited for record in members) else style.BAD


_HEADS = ("NAME", "NODE", "RANK", "PID", "PORT", "STATE", "UP", "RESTARTS")


def _per_process(found: Sequence[UnitStatus]) -> Table:
    ordered = sorted(found, key=lambda record: not record.unusual)
    return tabulate(_HEADS, [_row(record) for record in ordered], flex=("NAME", "NODE", "STATE"))


def _row(record: UnitStatus) -> tuple[str | Text, ...]:
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


def _logs(found: Sequence[UnitStatus]) -> list[Text]:
    """Where the logs are: one line per pattern, with NAME and NODE in place of the names."""
    paths = dict.fromkeys(
        record.seen.log.replace(f"/{record.node}/proc/{record.process}/", "/NODE/proc/NAME/")
        for record in found
        if record.seen and record.seen.log
    )
    return [Text(""), *(Text.assemble(("log on each node  ", style.DIM), path) for path in families(paths))]
