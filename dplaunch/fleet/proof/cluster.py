"""The proof of what a wave has started: warm-up, one completion on each endpoint, then through pairs."""

from __future__ import annotations

from collections.abc import Collection

from dplaunch.errors import DplaunchError, Interrupted, LockedError
from dplaunch.fleet.job import Job, as_error, phase
from dplaunch.fleet.logs.cause import explain_answers, explain_failures, find_dead
from dplaunch.fleet.proof.census import await_counted
from dplaunch.fleet.proof.completion import prove_alone
from dplaunch.fleet.proof.others import excuse_others
from dplaunch.fleet.proof.pairs import prove_pairs, prove_router, report
from dplaunch.fleet.proof.registry import await_registered
from dplaunch.fleet.proof.routes import choose_pairs, count_pairs
from dplaunch.fleet.proof.warm_up import warm_up
from dplaunch.model.event import Failed
from dplaunch.model.plan import Place, Process
from dplaunch.words import plural


def prove_groups(
    job: Job, processes: tuple[Process, ...], beside: Collection[Place], *, everything: bool
) -> None:
    """Warm up and prove every endpoint of ``processes`` alone, then through its pairs.

    ``beside``: places of processes that serve, with which pairs are made. ``everything``: all pairs, however
    many. Raises the first failure: a process that ended meanwhile comes before its consequences.
    """
    try:
        failures = _prove(job, processes, beside, everything=everything)
    except (Interrupted, LockedError):
        raise
    except DplaunchError:
        _need_alive(job, processes)
        raise
    if failures:
        _need_alive(job, processes)
        raise as_error(explain_answers(job, failures, processes))


def _need_alive(job: Job, processes: tuple[Process, ...]) -> None:
    """Raises the failure of a process that ended meanwhile."""
    dead = find_dead(job, processes)
    for failure in dead:
        job.emit(failure)
    if dead:
        raise as_error(explain_failures(job, dead, processes, ())) from None


def _prove(
    job: Job, processes: tuple[Process, ...], beside: Collection[Place], *, everything: bool
) -> tuple[Failed, ...]:
    """The failures of the first stage that has any."""
    endpoints = [e for process in processes if process.kind == "engine" for e in process.endpoints]
    if not endpoints:
        return ()
    if by_itself := [endpoint for endpoint in endpoints if endpoint.api.completions]:
        if failures := warm_up(job, by_itself):
            return failures
        with phase(job, "prove", f"one completion on each of {plural(len(by_itself), 'engine')}"):
            failures = prove_alone(job, by_itself)
        if failures:
            return failures
    mine = {process.place for process in processes}
    able = [p for p in job.plan.processes if p.kind == "engine" and p.place in mine.union(beside)]
    pairs, total = choose_pairs(
        [endpoint for process in able for endpoint in process.endpoints],
        everything=everything,
        about={endpoint.name for endpoint in endpoints},
    )
    router = job.plan.router_process
    if pairs and router is not None and not router.after and router.place not in mine.union(beside):
        job.note(
            "the router does not run, so no pair was asked; `dplaunch up` starts it and proves everything"
        )
    elif pairs:
        with phase(job, "prove pairs", count_pairs(pairs, total)):
            proof = prove_pairs(job, pairs, total)
            return report(job, excuse_others(job, proof, {endpoint.name for endpoint in endpoints}))
    return ()


def prove_entrance(job: Job) -> None:
    """Ask the router as a client would. Raises its failure."""
    if job.plan.router_process is not None:
        _need((*await_counted(job), *await_registered(job)))
        pairs, _ = choose_pairs(job.plan.endpoints, everything=False)
        with phase(job, "prove router"):
            _need(report(job, prove_router(job, pairs)))


def _need(failures: tuple[Failed, ...]) -> None:
    if failures:
        raise as_error(failures)
