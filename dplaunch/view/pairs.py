"""What a proof found: prefill × decode with the time of each answer; what failed, and why perhaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.proof import Answer, Moved, Odd, Pair, Proof
from dplaunch.ranges import fold
from dplaunch.view import style
from dplaunch.view.sheet import Sheet, sheet
from dplaunch.words import plural

WIDEST = 8
"""Decode engines that have a column each; more are folded into one."""


def drawn(name: str, proof: Proof, *, verbose: int = 0) -> RenderableType:
    """Verdict, table (``-v``: a row per pair), each failure with its reason, what they have in common."""
    return Group(_verdict(name, proof), *([_table(proof, verbose)] if proof.pairs else []), *_wrong(proof))


def to_json(proof: Proof) -> dict[str, Any]:
    """``{ok, total, pairs: [{engines, …}], router: [{stream, …}], kv: [{engine, …}], odd, notes}``."""
    return {
        "ok": proof.holds,
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
            for m in proof.moved
        ],
        "odd": None if proof.odd is None else {"kind": proof.odd.kind, "name": proof.odd.name},
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
    sampled = f" (of {proof.total}; --all asks through all)" if len(proof.pairs) < proof.total else ""
    said = (
        [f"{len(proof.good)} of {plural(len(proof.pairs), kind)} answer right{sampled}"]
        if proof.pairs
        else []
    )
    if proof.router:
        well = "the router too" if said else "the router answers right"
        said.append("the router does not" if any(a.wrong for a in proof.router) else well)
    if counted := [one for one in proof.moved if one.grown is not None]:
        said.append(f"KV came to {sum(not one.wrong for one in counted)} of {len(counted)} decode engines")
    word = ("passed", style.GOOD) if proof.holds else ("FAILED", style.BAD)
    return Text.assemble((name, style.HEAD), ": ", word, f": {', '.join(said)}" if said else "")


def _table(proof: Proof, verbose: int) -> Sheet:
    if verbose:
        return _list(proof)
    decodes = list(dict.fromkeys(pair.engines[-1] for pair, _ in proof.pairs))
    alone = any(len(pair.engines) == 1 for pair, _ in proof.pairs)
    return _folded(proof) if alone or len(decodes) > WIDEST else _matrix(proof, decodes)


def _list(proof: Proof) -> Sheet:
    rows = [
        (" → ".join(pair.engines), _cell(answer), style.plain(answer.text)) for pair, answer in proof.pairs
    ]
    return sheet(("PAIR", "TIME", "ANSWER"), rows, flex=("ANSWER",))


def _matrix(proof: Proof, decodes: Sequence[str]) -> Sheet:
    answers = {pair.engines: answer for pair, answer in proof.pairs}
    prefills = dict.fromkeys(pair.engines[0] for pair, _ in proof.pairs)
    rows = [
        [Text(prefill), *(_cell(answers.get((prefill, decode))) for decode in decodes)]
        for prefill in prefills
    ]
    return sheet(("PREFILL", *decodes), rows)


def _cell(answer: Answer | None) -> Text:
    if answer is None:
        return Text("-", style.DIM)
    return Text("FAILED", style.BAD) if answer.wrong else Text(latency(answer.seconds))


def _folded(proof: Proof) -> Sheet:
    """A row per first engine with its partners; engines that stand alone share one row."""
    rows: dict[str, list[tuple[Pair, Answer]]] = {}
    for pair, answer in proof.pairs:
        rows.setdefault(pair.engines[0] if len(pair.engines) > 1 else "", []).append((pair, answer))
    heads = ("PREFILL", "DECODE") if "" not in rows else ("", "ENGINES")
    table = [
        (first, fold(pair.engines[-1] for pair, _ in of_it), *_cells([answer for _, answer in of_it]))
        for first, of_it in rows.items()
    ]
    return sheet((*heads, "GOOD", "FASTEST", "SLOWEST"), table, flex=(heads[1],))


def _cells(answers: Sequence[Answer]) -> tuple[Text, Text, Text]:
    good = [answer.seconds for answer in answers if not answer.wrong]
    count = Text(f"{len(good)}/{len(answers)}", "" if len(good) == len(answers) else style.BAD)
    fastest, slowest = (latency(min(good)), latency(max(good))) if good else ("-", "-")
    return count, Text(fastest), Text(slowest)


def latency(seconds: float) -> str:
    """``12 ms``, ``3.25 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _wrong(proof: Proof) -> Iterator[Text]:
    kinds: dict[tuple[str, str], list[tuple[Pair, Answer]]] = {}
    for pair, answer in proof.failed:
        first = pair.engines[0] if len(pair.engines) > 1 else ""
        kinds.setdefault((first, answer.wrong.partition(":")[0]), []).append((pair, answer))
    for (first, _), alike in kinds.items():
        last = fold(pair.engines[-1] for pair, _ in alike)
        yield _failure(" → ".join(filter(None, (first, last))), alike[0][1].wrong)
    for place, answer in enumerate(proof.router):
        if answer.wrong:
            yield _failure("router" + (", a streamed request" if place else ""), answer.wrong)
    yield from _still(proof.moved)
    if proof.odd:
        yield Text.assemble(("ODD ONE ", style.ODD), _odd(proof.odd))
    yield from (Text.assemble(("note ", style.DIM), style.plain(note)) for note in proof.notes)
    for pair, _ in proof.failed[:1]:
        names = " ".join(name for name, _ in proof.suspects(pair))
        yield Text.assemble(("hint: ", style.NAME), f"dplaunch logs {names} -n 50")


def _failure(who: str, wrong: str) -> Text:
    return Text.assemble(("FAILED ", style.BAD), f"{who}: {style.plain(wrong)}")


def _still(moved: Sequence[Moved]) -> Iterator[Text]:
    still = [one for one in moved if one.wrong]
    if still:
        names, nodes = fold(one.engine for one in still), fold(one.node for one in still)
        yield _failure(f"{names} on {nodes}", "computed its prompts itself: no KV came from prefill")


def _odd(odd: Odd) -> str:
    where = f"{odd.name} on {odd.node}" if odd.kind == "engine" else f"an engine on {odd.name}"
    return f"{where} is in every failed pair and in no good one"
