"""What a proof found: prefill × decode with the time of each answer; what failed, and the likely reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.proof import Answer, KvGrowth, OddOneOut, Pair, Proof
from dplaunch.model.summary import Cause
from dplaunch.ranges import fold, grouped
from dplaunch.view import style
from dplaunch.view.status import cause_json, describe_cause, describe_remedy
from dplaunch.view.table import Table, tabulate
from dplaunch.words import plural

UNJUDGED = "the words were not judged, because no engine knows the answer: token ids were compared"
WIDEST = 8
"""Decode engines that have a column each; more are folded into one."""


def render(name: str, proof: Proof, cause: Cause | None = None, *, verbose: int = 0) -> RenderableType:
    """Verdict, table (``-v``: a row per pair), each failure with its reason, what they have in common.

    ``cause``: what is broken besides, which explains failures better than what they have in common.
    """
    table = [_table(proof, verbose)] if proof.pairs else []
    return Group(_verdict(name, proof), *table, *_wrong(proof, cause))


def to_json(proof: Proof, cause: Cause | None = None) -> dict[str, Any]:
    """``{ok, total, pairs, router, kv, odd, cause, judged, notes}``.

    pairs is ``[{engines, …}]``, router ``[{stream, …}]``, kv ``[{engine, …}]``.
    """
    return {
        "ok": proof.passed,
        "total": proof.total,
        "pairs": [{"engines": list(p.engines), "nodes": list(p.nodes), **_answer(a)} for p, a in proof.pairs],
        "router": [{"stream": bool(place), **_answer(a)} for place, a in enumerate(proof.router)],
        "kv": [
            {
                "engine": m.engine,
                "node": m.node,
                "grown": m.grown,
                "moved": None if m.grown is None else not m.wrong,
            }
            for m in proof.kv_growth
        ],
        "odd": {"kind": odd.kind, "name": odd.name} if (odd := proof.odd_one_out) else None,
        "cause": cause and cause_json(cause),
        "judged": proof.judged,
        "notes": list(proof.notes),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "ok": not answer.wrong,
        "seconds": answer.seconds,
        "text": answer.text,
        "problem": answer.wrong or None,
        "first_problem": answer.first or None,
    }


def _verdict(name: str, proof: Proof) -> Text:
    kind = "engine" if any(len(pair.engines) == 1 for pair, _ in proof.pairs) else "pair"
    sampled = f" (of {proof.total}; --all tests them all)" if len(proof.pairs) < proof.total else ""
    parts = (
        [f"{len(proof.good)} of {plural(len(proof.pairs), kind)} answer correctly{sampled}"]
        if proof.pairs
        else []
    )
    if proof.router:
        well = "so does the router" if parts else "the router answers correctly"
        parts.append("the router does not" if any(a.wrong for a in proof.router) else well)
    if counted := [one for one in proof.kv_growth if one.grown is not None]:
        parts.append(f"KV reached {sum(not one.wrong for one in counted)} of {len(counted)} decode engines")
    if not (parts or proof.router):
        parts.append("every process of the job ended with code 0")
    word = ("passed", style.GOOD) if proof.passed else ("FAILED", style.BAD)
    return Text.assemble((name, style.HEAD), ": ", word, f": {', '.join(parts)}" if parts else "")


def _table(proof: Proof, verbose: int) -> Table:
    if verbose:
        return _list(proof)
    decodes = list(dict.fromkeys(pair.engines[-1] for pair, _ in proof.pairs))
    alone = any(len(pair.engines) == 1 for pair, _ in proof.pairs)
    return _folded(proof) if alone or len(decodes) > WIDEST else _matrix(proof, decodes)


def _list(proof: Proof) -> Table:
    rows = [
        (" → ".join(pair.engines), _cell(answer), style.plain(answer.text)) for pair, answer in proof.pairs
    ]
    return tabulate(("PAIR", "TIME", "ANSWER"), rows, flex=("ANSWER",))


def _matrix(proof: Proof, decodes: Sequence[str]) -> Table:
    answers = {pair.engines: answer for pair, answer in proof.pairs}
    prefills = dict.fromkeys(pair.engines[0] for pair, _ in proof.pairs)
    rows = [
        [Text(prefill), *(_cell(answers.get((prefill, decode))) for decode in decodes)]
        for prefill in prefills
    ]
    return tabulate(("PREFILL", *decodes), rows)


def _cell(answer: Answer | None) -> Text:
    if answer is None:
        return Text("-", style.DIM)
    return Text("FAILED", style.BAD) if answer.wrong else Text(format_latency(answer.seconds))


def _folded(proof: Proof) -> Table:
    """A row per prefill engine with its partners; engines that serve alone share one row."""
    rows = grouped((_prefill(pair), (pair, answer)) for pair, answer in proof.pairs)
    heads = ("PREFILL", "DECODE") if "" not in rows else ("", "ENGINES")
    table = [
        (first, fold(pair.engines[-1] for pair, _ in of_it), *_cells([answer for _, answer in of_it]))
        for first, of_it in rows.items()
    ]
    return tabulate((*heads, "GOOD", "FASTEST", "SLOWEST"), table, flex=(heads[1],))


def _prefill(pair: Pair) -> str:
    """Its prefill engine; empty where an engine serves alone."""
    return pair.engines[0] if len(pair.engines) > 1 else ""


def _cells(answers: Sequence[Answer]) -> tuple[Text, Text, Text]:
    good = [answer.seconds for answer in answers if not answer.wrong]
    count = Text(f"{len(good)}/{len(answers)}", "" if len(good) == len(answers) else style.BAD)
    fastest, slowest = (format_latency(min(good)), format_latency(max(good))) if good else ("-", "-")
    return count, Text(fastest), Text(slowest)


def format_latency(seconds: float) -> str:
    """``12 ms``, ``3.25 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _wrong(proof: Proof, cause: Cause | None) -> Iterator[Text]:
    kinds = grouped(((_prefill(pair), a.wrong.partition(":")[0]), (pair, a)) for pair, a in proof.failed)
    for (first, _), same in kinds.items():
        last = fold(pair.engines[-1] for pair, _ in same)
        yield _failure(" → ".join(filter(None, (first, last))), same[0][1].wrong)
    for place, answer in enumerate(proof.router):
        if answer.wrong:
            yield _failure("router" + (", a streamed request" if place else ""), answer.wrong)
    yield from _still(proof.kv_growth)
    if cause is not None:
        yield Text.assemble(("CAUSE ", style.BAD), f"{describe_cause(cause)}; {describe_remedy(cause)}")
    elif proof.odd_one_out:
        yield Text.assemble(("SUSPECT ", style.WARN), _odd(proof.odd_one_out))
    notes = [*proof.notes, *([] if proof.judged else [UNJUDGED])]
    yield from (Text.assemble(("note ", style.DIM), style.plain(note)) for note in notes)
    for pair, _ in proof.failed[:1] if cause is None else ():
        names = " ".join(name for name, _ in proof.suspects(pair))
        yield Text.assemble(("hint: ", style.NAME), f"dplaunch logs {names} -n 50")


def _failure(who: str, wrong: str) -> Text:
    return Text.assemble(("FAILED ", style.BAD), f"{who}: {style.plain(wrong)}")


def _still(moved: Sequence[KvGrowth]) -> Iterator[Text]:
    still = [one for one in moved if one.wrong]
    if still:
        names, nodes = fold(one.engine for one in still), fold(one.node for one in still)
        yield _failure(f"{names} on {nodes}", "computed its prompts itself: no KV came from prefill")


def _odd(odd: OddOneOut) -> str:
    where = f"{odd.name} on {odd.node}" if odd.kind == "engine" else f"an engine on {odd.name}"
    return f"{where} is in every failed pair and in no good one"
