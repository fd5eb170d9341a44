"""The walks of ``up`` and ``restart``: observe, decide, carry wave after wave."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dplaunch.errors import DplaunchError, Interrupted, LockedError, UsageError
from dplaunch.fleet.change.carry import Carrying
from dplaunch.fleet.change.options import NoPreflight, Options, Preflight, UpResult
from dplaunch.fleet.change.stop import stop_in_order
from dplaunch.fleet.job import Job, connect_all, need_started, phase, record
from dplaunch.fleet.membership import release
from dplaunch.fleet.proof.cluster import prove_entrance
from dplaunch.fleet.verdict import last_proof
from dplaunch.model.observed import Observed, State
from dplaunch.model.plan import Action, Change, Place
from dplaunch.model.step import Ended, StepKind, Wave
from dplaunch.model.trail import Result
from dplaunch.plan.waves import waves
from dplaunch.ranges import fold
from dplaunch.reconcile import Decision, decide
from dplaunch.words import plural

Confirm = Callable[[tuple[Action, ...]], bool]
"""Shown what would stop; True continues."""


def preview(job: Job, options: Options) -> Decision:
    """What ``up`` would do, from a fresh look at every node. Touches nothing."""
    connect_all(job)
    return decide(job.plan, job.driver.observe(), options.wish)


def up(
    job: Job,
    options: Options,
    confirm: Confirm,
    preflight: Preflight | None = None,
    begins: Callable[[], None] = lambda: None,
) -> UpResult:
    """Bring the cluster to its plan. Raises the failure after taking down what it started.

    ``begins`` is called when nothing stands in the way any more, before anything is changed.
    """
    look = preflight or NoPreflight()
    if options.detach and any(process.after for process in job.plan.processes):
        raise UsageError(
            "--detach cannot start what must start after the engines serve",
            hint="leave --detach out, or use `router: {kind: dplaunch}`, which starts together with them",
        )
    connect_all(job)
    with job.driver.locked(job.operator, options.verb):
        observed = job.driver.observe(health=True)  # pairs are proved with those that serve
        _need_compatible(observed)
        decision = decide(job.plan, observed, options.wish)
        with job.driver.unheard():
            agreed = confirm(decision.actions)
        if not agreed:
            raise UsageError("nothing was changed")
        if _starting(decision.waves):
            look.before(job, observed)
        begins()
        return _carry_all(job, options, decision, observed, look)


def restart(job: Job, options: Options) -> UpResult:
    """Restart the groups that ``options.wish`` names, one after the other, each proved before it serves."""
    connect_all(job)
    with job.driver.locked(job.operator, options.verb):
        observed = job.driver.observe(health=True)
        _need_compatible(observed)
        decision = decide(job.plan, observed, options.wish)
        return _carry_all(job, options, decision, observed, NoPreflight())


def wait_ready(job: Job, timeout: float | None) -> None:
    """Wait until all of the plan is ready, and prove it. Changes nothing: no group is opened or held."""
    verb = "status --wait"
    connect_all(job)
    need_started(job, "wait for")
    actions = tuple(Action(Change.KEEP, p.name, p.node, "", p.group) for p in job.plan.processes)
    options = Options(verb=verb, timeout=timeout)
    try:
        for wave in waves(actions, job.plan):
            Carrying(job, wave, options, job.driver.observe(health=True)).await_and_prove()
        prove_entrance(job)
    except Interrupted:
        raise
    except DplaunchError as error:
        record(job, verb, Result.FAILED, reason=error.text)
        raise
    record(job, verb, Result.PROVED)


def _carry_all(job: Job, options: Options, decision: Decision, before: Observed, look: Preflight) -> UpResult:
    """Every wave of a decision; the caller holds the lock. ``before``: what ran when it was made."""
    if decision.changes:
        record(job, options.verb, Result.BEGAN)
    begun: list[Wave] = []
    try:
        for number, wave in enumerate(decision.waves):
            if len(decision.waves) > 1:
                job.note(f"{fold(wave.groups)}: wave {number + 1} of {len(decision.waves)}")
            observed = job.driver.observe(health=True) if number else before
            begun.append(wave)
            _carry(Carrying(job, wave, options, observed), look)
            if options.wish.restart is not None:
                begun.clear()  # this group serves again, whatever becomes of the others
        if not options.detach and _whole(job, decision, before):
            prove_entrance(job)
    except Interrupted:
        _let_go(job, decision)
        record(job, options.verb, Result.INTERRUPTED)
        raise
    except LockedError:
        raise  # another operator is at work on it now
    except DplaunchError as error:
        _take_down(job, options, begun)
        record(job, options.verb, Result.FAILED, reason=error.text)
        look.report(job)
        raise
    look.report(job)
    return _finish(job, options, decision, before)


def _carry(carrying: Carrying, look: Preflight) -> None:
    """One wave. Raises why the first of its groups failed."""
    loads = bool(carrying.wave.of(StepKind.START))
    for outcome in carrying.carry(lambda: look.meanwhile(carrying.job) if loads else None):
        if outcome.ended is Ended.FAILED and outcome.error is not None:
            raise outcome.error


def _finish(job: Job, options: Options, decision: Decision, before: Observed) -> UpResult:
    result = UpResult(decision.actions, ready=not options.detach, changed=decision.changes)
    unproved = _unproved(options, before)
    if options.detach:
        record(job, options.verb, Result.DETACHED)
    elif decision.changes:
        record(job, options.verb, Result.READY, unproved=unproved, started=result.started)
    else:
        record(job, options.verb, Result.PROVED, unproved=unproved)
    return result


def _unproved(options: Options, before: Observed) -> str:
    """Proving a part again does not mend what an earlier proof found wrong in the whole."""
    earlier = last_proof(before)
    return earlier.reason if not options.wish.whole and earlier and not earlier.holds else ""


def _whole(job: Job, decision: Decision, before: Observed) -> bool:
    """All of the plan serves now: what was changed or kept was proved, what was left alone served before."""
    handled = {action.place for action in decision.actions}
    served = {process.place for process in before.processes if process.serves}
    router = job.plan.router_process
    return router is not None and all(p.place in handled | served for p in job.plan.processes)


def _starting(waves: Iterable[Wave]) -> set[Place]:
    return {place for wave in waves for place in wave.places(StepKind.START)}


def _need_compatible(observed: Observed) -> None:
    """Raises where something runs that was started by guards of another protocol."""
    for process in observed.processes:
        if process.state is State.INCOMPATIBLE:
            raise DplaunchError(
                f"{process.name} on {process.node} {process.problem}",
                hint="stop it with that version first; nothing was changed",
            )


def _let_go(job: Job, decision: Decision) -> None:
    """The launcher leaves: from now on the router proves what was started, and then opens it."""
    try:
        release(job, {group for wave in decision.waves for group in wave.groups})
    except DplaunchError as error:
        job.note(f"{error.text}: the router keeps new groups closed; `dplaunch up` opens them later")


def _take_down(job: Job, options: Options, begun: Iterable[Wave]) -> None:
    """Leave nothing half-dead: stop what these waves started, and report what could not be stopped."""
    started = _starting(begun)
    if options.keep:
        job.note("--keep: nothing was stopped; `dplaunch status -v` lists what runs")
        return
    if not started:
        return
    if job.driver.unreached:
        job.driver.open(set(job.driver.unreached))
    alive = [p for p in job.driver.observe().processes if p.alive and p.place in started]
    if alive:
        with phase(job, "take down", plural(len(alive), "process")):
            stop_in_order(job, alive)
    for node in sorted(job.driver.unreached):
        job.note(
            f"{node} is unreachable: what was started there may still run; `dplaunch down` stops it later"
        )
