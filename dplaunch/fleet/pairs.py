"""The proof of a cluster's routes: answers through pairs of engines and the router, and KV that moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dplaunch.fleet.ask import probe
from dplaunch.fleet.handover import ask_pairs, read
from dplaunch.fleet.job import Job, connect_all, phase
from dplaunch.fleet.lock import FAILED, audit
from dplaunch.fleet.moved import moved, tally
from dplaunch.fleet.observe import need_started
from dplaunch.fleet.odd import notes, odd_one, sentence
from dplaunch.fleet.prove import COMPLETION_TIMEOUT, completion
from dplaunch.fleet.routes import chosen, counted, decode_first, told
from dplaunch.fold import grouped
from dplaunch.model.cluster import DECODE
from dplaunch.model.event import Failed, Note, Proved
from dplaunch.model.plan import Process
from dplaunch.model.proof import Answer, Moved, Pair, Proof

NO_PAIRS = (
    "pairs cannot be chosen: the layer-wise proxy starts with decode and brings engines together itself"
)


def prove_routes(job: Job, pairs: Sequence[Pair], total: int, router: Process | None) -> Proof:
    """Ask through each of ``pairs`` (of ``total``) and through the router; judge, compare, count KV."""
    if decode_first(job.plan):
        through = _ask_router(job, router)
        return Proof(router=through, notes=(NO_PAIRS,) if pairs else ())
    decodes = _decodes(job, pairs)
    before = tally(job, decodes)
    answers = _twice(job, pairs)
    good = {name for pair, answer in answers.items() if not answer.wrong for name in pair.engines}
    came = moved(job, [engine for engine in decodes if engine.name in good], before)
    failed = [pair for pair, answer in answers.items() if answer.wrong]
    return Proof(
        pairs=tuple(answers.items()),
        total=total,
        router=_ask_router(job, router),
        moved=came,
        odd=odd_one(failed, [pair for pair in answers if pair not in failed]),
        notes=notes(answers, came),
    )


def examine(job: Job, *, everything: bool) -> Proof:
    """The walk of ``test``: the routes of a cluster that runs. Changes nothing; no answer is an error."""
    connect_all(job)
    need_started(job, "test")
    engines = [p for p in job.plan.processes if p.kind == "engine"]
    pairs, total = chosen(engines, everything=everything)
    with phase(job, "test", counted(pairs, total)):
        proof = prove_routes(job, pairs, total, _router(job))
    failures = _failures(job, proof)
    audit(job, "test", FAILED + failures[0].text if failures else "proved")
    return proof


def report(job: Job, proof: Proof) -> tuple[Failed, ...]:
    """Tell what a proof found as events. Returns its failures."""
    for text in proof.notes:
        job.emit(Note(at=job.now, text=text))
    router = _router(job)
    if router and proof.router and not any(answer.wrong for answer in proof.router):
        whole = proof.router[0]
        job.emit(Proved(at=job.now, process=router.name, seconds=whole.seconds, text=whole.text))
    failures = _failures(job, proof)
    for failure in failures:
        job.emit(failure)
    return failures


def _failures(job: Job, proof: Proof) -> tuple[Failed, ...]:
    return (
        *_pairs_failed(job, proof),
        *_kv_failed(job, proof.moved),
        *_router_failed(job, proof, _router(job)),
    )


def _router(job: Job) -> Process | None:
    return next((p for p in job.plan.processes if p.role == "router"), None)


def _decodes(job: Job, pairs: Sequence[Pair]) -> list[Process]:
    wanted = {name for pair in pairs for name in pair.engines}
    return [p for p in job.plan.processes if p.role == DECODE and p.name in wanted]


def _twice(job: Job, pairs: Sequence[Pair]) -> dict[Pair, Answer]:
    """Ask all; a fresh pair may fail its very first hand-over, so what failed is asked once more."""
    answers = ask_pairs(job, pairs)
    wrong = [pair for pair in pairs if answers[pair].wrong]
    again = ask_pairs(job, wrong)
    return answers | {pair: replace(answer, first=answers[pair].wrong) for pair, answer in again.items()}


def _ask_router(job: Job, router: Process | None) -> tuple[Answer, ...]:
    """Whole and as a stream, the engines left to the router; asked once more where one is wrong."""
    if router is None:
        return ()
    found = []
    for stream in (False, True):
        first = _ask_once(job, router, stream=stream)
        found.append(
            replace(_ask_once(job, router, stream=stream), first=first.wrong) if first.wrong else first
        )
    return tuple(found)


def _ask_once(job: Job, router: Process, *, stream: bool) -> Answer:
    question = completion(job, router, stream=stream)
    return read(probe(job, [(router.node, question)], COMPLETION_TIMEOUT).get(router.name))


def _pairs_failed(job: Job, proof: Proof) -> Iterator[Failed]:
    """One failure for each kind of wrong answer, all pairs of it named."""
    kinds = grouped((answer.wrong.partition(":")[0], (pair, answer)) for pair, answer in proof.failed)
    for alike in kinds.values():
        first, answer = alike[0]
        suspects = proof.suspects(first)
        engine, node = suspects[0]
        yield Failed(
            at=job.now,
            process=engine,
            node=node,
            text=f"{told(pair for pair, _ in alike)} {answer.wrong}",
            cause=sentence(proof.odd, job.plan) if proof.odd else "",
            hint=f"dplaunch logs {' '.join(name for name, _ in suspects)} -n 50",
        )


def _kv_failed(job: Job, found: Sequence[Moved]) -> Iterator[Failed]:
    for one in found:
        if one.wrong:
            yield Failed(
                at=job.now,
                process=one.engine,
                node=one.node,
                text=f"{one.engine} on {one.node} computed its prompts itself: no KV came from prefill",
                hint=f"dplaunch logs {one.engine} -n 50",
            )


def _router_failed(job: Job, proof: Proof, router: Process | None) -> Iterator[Failed]:
    for answer, how in zip(proof.router, ("", " a streamed request"), strict=False):
        if answer.wrong and router:
            yield Failed(
                at=job.now,
                process=router.name,
                node=router.node,
                text=f"{router.name} on {router.node} {answer.wrong}{how and f' ({how.strip()})'}",
                hint=f"dplaunch logs {router.name} -n 50",
            )
