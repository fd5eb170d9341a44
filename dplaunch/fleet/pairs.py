"""The proof of a cluster's routes: answers through pairs of engines and the router, and KV that moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from dplaunch.fleet.ask import probe
from dplaunch.fleet.handover import ask_pairs
from dplaunch.fleet.job import Job, connect_all, phase
from dplaunch.fleet.lock import FAILED, PROVED, audit
from dplaunch.fleet.moved import moved, tally
from dplaunch.fleet.observe import need_started
from dplaunch.fleet.odd import notes, odd_one, sentence
from dplaunch.fleet.prove import COMPLETION_TIMEOUT, ask_alone, completion, knows, read, weighed
from dplaunch.fleet.routes import chosen, counted, decode_first, told
from dplaunch.model.cluster import DECODE
from dplaunch.model.event import Failed, Note, Proved
from dplaunch.model.plan import Process
from dplaunch.model.proof import Answer, Moved, Pair, Proof
from dplaunch.ranges import grouped

_Key = TypeVar("_Key", bound=Hashable)
NO_PAIRS = (
    "pairs cannot be chosen: the layer-wise proxy starts with decode and brings engines together itself"
)


def prove_routes(job: Job, pairs: Sequence[Pair], total: int, router: Process | None) -> Proof:
    """Ask through each of ``pairs`` (of ``total``) and through the router; judge, compare, count KV."""
    if decode_first(job.plan):
        through = _ask_router(job, router, beside=pairs)
        return Proof(router=through, notes=(NO_PAIRS,) if pairs else ())
    decodes = _decodes(job, pairs)
    before = tally(job, decodes)
    first = ask_pairs(job, pairs)
    known = _known(job, first.values(), pairs)
    answers = _twice(first, known, lambda some: ask_pairs(job, some))
    good = {name for pair, answer in answers.items() if not answer.wrong for name in pair.engines}
    came = moved(job, [engine for engine in decodes if engine.name in good], before)
    failed = [pair for pair, answer in answers.items() if answer.wrong]
    return Proof(
        pairs=tuple(answers.items()),
        total=total,
        router=_ask_router(job, router, known=known),
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
    audit(job, "test", FAILED + failures[0].text if failures else PROVED)
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
    return job.plan.router_process


def _decodes(job: Job, pairs: Sequence[Pair]) -> list[Process]:
    return [p for p in _engines(job, pairs) if p.role == DECODE]


def _engines(job: Job, pairs: Sequence[Pair]) -> list[Process]:
    wanted = {name for pair in pairs for name in pair.engines}
    return [p for p in job.plan.processes if p.name in wanted]


def _known(job: Job, answers: Collection[Answer], pairs: Sequence[Pair]) -> bool:
    """This model knows the answer: one of these says it, else an engine of these pairs, asked alone."""
    if all(answer.wrong for answer in answers):
        return False  # nothing to weigh
    return knows(answers) or knows(ask_alone(job, _engines(job, pairs)).values())


def _twice(
    first: Mapping[_Key, Answer], known: bool, ask: Callable[[list[_Key]], Mapping[_Key, Answer]]
) -> dict[_Key, Answer]:
    """A fresh pair may fail its very first hand-over, so what went wrong is asked once more."""
    answers = {key: weighed(answer, known=known) for key, answer in first.items()}
    again = ask([key for key, answer in answers.items() if answer.wrong])
    return answers | {
        key: replace(weighed(answer, known=known), first=answers[key].wrong) for key, answer in again.items()
    }


def _ask_router(
    job: Job, router: Process | None, *, known: bool = False, beside: Sequence[Pair] = ()
) -> tuple[Answer, ...]:
    """Whole and as a stream, the engines left to the router. ``beside``: whose engines may know better."""
    if router is None:
        return ()

    def ask(streams: Iterable[bool]) -> dict[bool, Answer]:
        return {stream: _ask_once(job, router, stream=stream) for stream in streams}

    first = ask((False, True))
    return tuple(_twice(first, known or _known(job, first.values(), beside), ask).values())


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
