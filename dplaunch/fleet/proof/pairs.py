"""The proof of a cluster's routes: answers through pairs of endpoints and the router, and KV that moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job, connect_all, need_started, phase, record
from dplaunch.fleet.membership import read_report
from dplaunch.fleet.proof.completion import QUICK, ask_alone, completion, failure, knows, read, weigh
from dplaunch.fleet.proof.handover import LOOK_EVERY, SEEN_WITHIN, ask_pairs, is_out_of_service, make_stamp
from dplaunch.fleet.proof.kv_counters import tally, watch_growth
from dplaunch.fleet.proof.odd_one_out import explain_odd_one, find_notes, find_odd_one
from dplaunch.fleet.proof.routes import cannot_choose, choose_pairs, count_pairs, describe_pairs
from dplaunch.fleet.proof.tokens import compare_tokens
from dplaunch.fleet.verdict import mark_stuck
from dplaunch.model.cluster import DECODE
from dplaunch.model.event import Failed, Proved
from dplaunch.model.observed import State
from dplaunch.model.plan import Endpoint, Process
from dplaunch.model.proof import Answer, KvGrowth, Pair, Proof
from dplaunch.model.remote import HttpReply
from dplaunch.model.trail import Result
from dplaunch.ranges import grouped

_Key = TypeVar("_Key", bound=Hashable)
NO_PAIRS = "pairs cannot be chosen: the router or the engines themselves pair prefill with decode"


def prove_pairs(job: Job, pairs: Sequence[Pair], total: int) -> Proof:
    """Ask through each of ``pairs`` (of ``total``); judge the answers, compare them, count KV."""
    if cannot_choose(job.plan):
        return Proof(total=total, notes=(NO_PAIRS,) if pairs else ())
    decodes = [endpoint for endpoint in _endpoints(job, pairs) if endpoint.role == DECODE]
    before = tally(job, decodes)
    stamp = make_stamp(job)
    first = ask_pairs(job, pairs, stamp)
    known = _known(job, first.values(), pairs)

    def ask_again(some: Sequence[Pair]) -> Mapping[Pair, Answer]:
        stamp = make_stamp(job)
        found = ask_pairs(job, some, stamp)
        return found if known else compare_tokens(job, found, stamp, job.plan.endpoints)

    if not known:
        first = compare_tokens(job, first, stamp, job.plan.endpoints)
    answers = _ask_twice(first, known, ask_again)
    good = {name for pair, answer in answers.items() if not answer.wrong for name in pair.engines}
    came = watch_growth(job, [engine for engine in decodes if engine.name in good], before)
    failed = [pair for pair, answer in answers.items() if answer.wrong]
    return Proof(
        pairs=tuple(answers.items()),
        total=total,
        kv_growth=came,
        odd_one_out=find_odd_one(failed, [pair for pair in answers if pair not in failed]),
        judged=known or not any(answer.senseless for answer in answers.values()),
        notes=find_notes(answers, came),
    )


def prove_router(job: Job, beside: Sequence[Pair] = ()) -> Proof:
    """Ask the router for a whole and for a streamed answer; it chooses the engines.

    ``beside``: pairs whose endpoints show whether this model knows the answer.
    """
    router = job.plan.router_process
    if router is None:
        return Proof()

    def ask(streams: Sequence[bool]) -> dict[bool, Answer]:
        return {stream: read(_ask_router(job, router, stream=stream)) for stream in streams}

    first = ask((False, True))
    known = _known(job, first.values(), beside)
    return Proof(router=tuple(_ask_twice(first, known, ask).values()))


def examine(job: Job, *, everything: bool) -> Proof:
    """The walk of ``test``: prove the routes of a running cluster. Raises nothing for a wrong answer."""
    connect_all(job)
    need_started(job, "test")
    if job.plan.is_job:
        need_done(job)
    pairs, total = choose_pairs(job.plan.endpoints, everything=everything)
    silent = find_silent(job)
    able = [pair for pair in pairs if not silent.intersection(pair.engines)]
    with phase(job, "test", count_pairs(pairs, total)):
        found = prove_pairs(job, able, total)
        through = prove_router(job, able)
    proof = _add_silent(replace(found, router=through.router), pairs, silent)
    failures = find_failures(job, proof)
    if failures:
        record(job, "test", Result.FAILED, reason=failures[0].text)
    else:
        record(job, "test", Result.PROVED)
    return proof


def need_done(job: Job) -> None:
    """Raise DplaunchError where a process of a job still runs, or has failed."""
    seen = {process.place: process for process in job.driver.observe().processes}
    for process in job.plan.jobs:
        found = seen[process.place]
        if found.state is not State.DONE:
            what = "still runs" if found.alive else found.ending
            hint = f"`dplaunch logs {process.name}` shows what it wrote"
            raise DplaunchError(f"{process.name} on {process.node} {what}: the job is not done", hint=hint)


def find_silent(job: Job) -> frozenset[str]:
    """Endpoints that need not be asked for words: they do not answer their health check, or are stuck."""
    observed = mark_stuck(job.driver.observe(health=True), read_report(job).stuck)
    return frozenset(
        e.name for process in observed.processes for e in process.endpoints if e.healthy is False
    )


def _add_silent(proof: Proof, pairs: Sequence[Pair], silent: Collection[str]) -> Proof:
    """``proof`` with the pairs that were not asked, because one of their engines is silent, as failed."""
    answers = dict(proof.pairs)
    for pair in pairs:
        names = [name for name in pair.engines if name in silent]
        if names:
            answers[pair] = Answer(wrong=f"was not asked: {' and '.join(names)} does not answer")
    if len(answers) == len(proof.pairs):
        return proof
    failed = [pair for pair, answer in answers.items() if answer.wrong]
    odd = find_odd_one(failed, [pair for pair in answers if pair not in failed])
    return replace(
        proof, pairs=tuple((pair, answers[pair]) for pair in pairs if pair in answers), odd_one_out=odd
    )


def report(job: Job, proof: Proof) -> tuple[Failed, ...]:
    """Report what a proof found as events. Returns its failures."""
    for text in proof.notes:
        job.note(text)
    router = job.plan.router_process
    if router and proof.router and not any(answer.wrong for answer in proof.router):
        whole = proof.router[0]
        job.emit(Proved(at=job.now, process=router.name, seconds=whole.seconds, text=whole.text))
    failures = find_failures(job, proof)
    for failed in failures:
        job.emit(failed)
    return failures


def find_failures(job: Job, proof: Proof) -> tuple[Failed, ...]:
    """Everything of a proof that does not hold."""
    return (
        *_pairs_failed(job, proof),
        *_kv_failed(job, proof.kv_growth),
        *_router_failed(job, proof, job.plan.router_process),
    )


def _endpoints(job: Job, pairs: Sequence[Pair]) -> list[Endpoint]:
    wanted = {name for pair in pairs for name in pair.engines}
    return [endpoint for endpoint in job.plan.endpoints if endpoint.name in wanted]


def _known(job: Job, answers: Collection[Answer], pairs: Sequence[Pair]) -> bool:
    """Whether this model knows the answer: one of ``answers`` has it, else an endpoint asked alone."""
    if all(answer.wrong for answer in answers):
        return False  # nothing to judge
    return knows(answers) or knows(ask_alone(job, _endpoints(job, pairs), timeout=QUICK).values())


def _ask_twice(
    first: Mapping[_Key, Answer], known: bool, ask: Callable[[Sequence[_Key]], Mapping[_Key, Answer]]
) -> dict[_Key, Answer]:
    """A fresh pair may fail its very first KV transfer, so wrong answers are requested once more."""
    answers = {key: _judge(answer, known=known) for key, answer in first.items()}
    again = ask([key for key, answer in answers.items() if answer.wrong])
    return answers | {
        key: replace(_judge(answer, known=known), first=answers[key].wrong) for key, answer in again.items()
    }


def _judge(answer: Answer, *, known: bool) -> Answer:
    """Its words, unless no engine knows the answer and token ids are there, which were compared."""
    return answer if answer.tokens and not known else weigh(answer, known=known)


def _ask_router(job: Job, router: Process, *, stream: bool) -> HttpReply | None:
    """Ask again while no group is open: the router reads its members file twice a second."""
    endpoint, deadline = router.endpoints[0], job.now + SEEN_WITHIN
    while True:
        reply = job.driver.ask([completion(job, endpoint, stream=stream)]).get(endpoint.name)
        if not is_out_of_service(reply) or job.now >= deadline:
            return reply
        job.driver.pause(LOOK_EVERY)


def _pairs_failed(job: Job, proof: Proof) -> Iterator[Failed]:
    """One failure for each kind of wrong answer, all pairs of it named."""
    kinds = grouped((answer.wrong.partition(":")[0], (pair, answer)) for pair, answer in proof.failed)
    for failed in kinds.values():
        first, answer = failed[0]
        suspects = proof.suspects(first)
        engine, node = suspects[0]
        yield Failed(
            at=job.now,
            process=engine,
            node=node,
            text=f"{describe_pairs(pair for pair, _ in failed)} {answer.wrong}",
            cause=explain_odd_one(proof.odd_one_out, job.plan) if proof.odd_one_out else "",
            hint=f"dplaunch logs {' '.join(name for name, _ in suspects)} -n 50",
        )


def _kv_failed(job: Job, found: Sequence[KvGrowth]) -> Iterator[Failed]:
    wrong = "computed its prompts itself: no KV came from prefill"
    return (failure(job, one.engine, one.node, wrong) for one in found if one.wrong)


def _router_failed(job: Job, proof: Proof, router: Process | None) -> Iterator[Failed]:
    for answer, how in zip(proof.router, ("", " (a streamed request)"), strict=False):
        if answer.wrong and router:
            yield failure(job, router.name, router.node, f"{answer.wrong}{how}")
