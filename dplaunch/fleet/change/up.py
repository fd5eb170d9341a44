"""The walks of ``up`` and ``restart``: observe, decide, carry wave after wave."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from dplaunch.errors import DplaunchError, Interrupted, LockedError, UsageError
from dplaunch.fleet.change.carry import Carrying
from dplaunch.fleet.change.differences import find_differences
from dplaunch.fleet.change.options import ChangeOptions, Preflight, UpResult
from dplaunch.fleet.change.stop import stop_in_order
from dplaunch.fleet.client_keys import write_client_keys
from dplaunch.fleet.containers import foresee
from dplaunch.fleet.job import Job, connect_all, need_all, need_started, phase, record
from dplaunch.fleet.membership import release
from dplaunch.fleet.proof.cluster import prove_entrance
from dplaunch.fleet.verdict import last_proof
from dplaunch.model.container import Preparation
from dplaunch.model.difference import Difference
from dplaunch.model.observed import Observed, State
from dplaunch.model.plan import ROUTER, Action, Change, Place, Plan
from dplaunch.model.step import Ended, Outcome, StepKind, Wave
from dplaunch.model.trail import Result
from dplaunch.plan.waves import waves
from dplaunch.ranges import fold
from dplaunch.reconcile import Decision, decide
from dplaunch.words import plural

Confirm = Callable[[tuple[Action, ...], tuple[Difference, ...]], bool]
"""Shown what would stop; True continues."""


def preview(job: Job, options: ChangeOptions) -> tuple[Decision, Preparation]:
    """What ``up`` would do, from a fresh look at every node. Touches nothing."""
    connect_all(job)
    observed = job.driver.observe(search=True)
    need_all(job)
    decision = decide(job.plan, observed, options.wish)
    return decision, foresee(job, decision.waves, observed)


def up(
    job: Job,
    options: ChangeOptions,
    confirm: Confirm,
    preflight: Preflight | None = None,
    begins: Callable[[], None] = lambda: None,
) -> UpResult:
    """Bring the cluster to its plan. Raises the failure after taking down what it started.

    ``begins`` is called after the last refusal, before anything is changed.
    """
    look = preflight or Preflight()
    if options.detach:
        _refuse_to_wait(job.plan)
    connect_all(job, prepare=True)
    with job.driver.locked(job.operator, options.verb):
        observed = _look(job)
        decision = decide(job.plan, observed, options.wish)
        differences = find_differences(job, decision.restarts)
        foresee(job, decision.waves, observed)
        with job.driver.unheard():
            agreed = confirm(decision.actions, differences)
        if not agreed:
            raise UsageError("nothing was changed")
        if _starting(decision.waves):
            look.before(job, observed)
        begins()
        write_client_keys(job)
        return _carry_all(job, options, decision, observed, look)


def restart(job: Job, options: ChangeOptions) -> UpResult:
    """Restart the groups that ``options.wish`` names, one after the other, each proved before it serves."""
    connect_all(job, prepare=True)
    with job.driver.locked(job.operator, options.verb):
        observed = _look(job)
        decision = decide(job.plan, observed, options.wish)
        foresee(job, decision.waves, observed)
        return _carry_all(job, options, decision, observed, Preflight())


def wait_ready(job: Job, timeout: float | None) -> None:
    """Wait until all of the plan is ready, and prove it. Changes nothing: no group is opened or held."""
    verb = "status --wait"
    connect_all(job)
    need_started(job, "wait for")
    actions = tuple(Action(Change.KEEP, p.name, p.node, "", p.group) for p in job.plan.processes)
    options = ChangeOptions(verb=verb, timeout=timeout)
    try:
        for wave in waves(actions, job.plan):
            _need_done(Carrying(job, wave, options, job.driver.observe(health=True)).prove())
        prove_entrance(job)
    except Interrupted:
        raise
    except DplaunchError as error:
        record(job, verb, Result.FAILED, reason=error.text)
        raise
    record(job, verb, Result.PROVED)


def _carry_all(
    job: Job, options: ChangeOptions, decision: Decision, before: Observed, look: Preflight
) -> UpResult:
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
                begun.clear()  # this group serves again, even if a later one fails
        if not options.detach and _whole(job, decision, before):
            prove_entrance(job)
    except Interrupted:
        _let_go(job, {group for wave in decision.waves for group in wave.groups})
        record(job, options.verb, Result.INTERRUPTED)
        raise
    except LockedError:
        raise  # another operator is at work on it now
    except DplaunchError as error:
        _take_down(job, options, begun, before)
        record(job, options.verb, Result.FAILED, reason=error.text)
        look.report(job)
        raise
    look.report(job)
    return _finish(job, options, decision, before)


def _carry(carrying: Carrying, look: Preflight) -> None:
    """One wave. Raises why the first of its groups failed."""
    loads = bool(carrying.wave.of(StepKind.START))
    _need_done(carrying.carry(lambda: look.meanwhile(carrying.job) if loads else None))


def _need_done(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.ended is Ended.FAILED and outcome.error is not None:
            raise outcome.error


def _finish(job: Job, options: ChangeOptions, decision: Decision, before: Observed) -> UpResult:
    result = UpResult(decision.actions, ready=not options.detach, changed=decision.changes)
    unproved = _unproved(options, before)
    if options.detach:
        record(job, options.verb, Result.DETACHED)
    elif decision.changes:
        record(job, options.verb, Result.READY, unproved=unproved, started=result.started)
    else:
        record(job, options.verb, Result.PROVED, unproved=unproved)
    return result


def _unproved(options: ChangeOptions, before: Observed) -> str:
    """What an earlier proof of the whole cluster found wrong; a proof of a part does not repair it."""
    earlier = last_proof(before)
    return earlier.reason if not options.wish.whole and earlier and not earlier.passed else ""


def _whole(job: Job, decision: Decision, before: Observed) -> bool:
    """The whole plan serves now: what was changed or kept was proved, the rest served before."""
    handled = {action.place for action in decision.actions}
    served = {process.place for process in before.processes if process.serves}
    router = job.plan.router_process
    return router is not None and all(p.place in handled | served for p in job.plan.processes)


def _starting(waves: Iterable[Wave]) -> set[Place]:
    return {place for wave in waves for place in wave.places(StepKind.START)}


def _refuse_to_wait(plan: Plan) -> None:
    """Raise UsageError where a process starts only after others are ready."""
    late = next((process for process in plan.processes if process.after), None)
    if late is not None:
        hint = "omit --detach"
        if late.role == ROUTER:
            hint += ", or use `router: {kind: dplaunch}`, which starts together with the engines"
        raise UsageError(
            f"--detach does not wait, and {late.name} starts after {fold(late.after)} is ready", hint=hint
        )


def _look(job: Job) -> Observed:
    """What runs, health asked: pairs are proved with what serves.

    Raises where a node does not reply, or where it is not known whether something runs that would have to
    be stopped, or it may not be: state of another host, of another protocol, or that cannot be read.
    """
    observed = job.driver.observe(health=True, search=True)
    need_all(job)
    planned = {process.place for process in job.plan.processes}
    for process in observed.processes:
        if process.unclear and (process.state is not State.FOREIGN or process.place in planned):
            raise DplaunchError(
                f"{process.name} on {process.node} was left alone, nothing was changed: {process.problem}",
                hint=process.hint,
            )
    return observed


def _let_go(job: Job, groups: Collection[str]) -> None:
    """From now on the router proves those of these groups that are closed, and then opens them."""
    try:
        release(job, groups)
    except DplaunchError as error:
        job.note(f"{error.text}: the router keeps new groups closed; `dplaunch up` opens them later")


def _take_down(job: Job, options: ChangeOptions, begun: Iterable[Wave], before: Observed) -> None:
    """Leave nothing half-dead: stop what these waves started, and report what could not be stopped.

    A group that still runs as ``before`` keeps running: it was to be stopped, and was not.
    """
    if job.driver.unreached:
        job.driver.open(set(job.driver.unreached))
    running = {(p.place, p.pid) for p in before.processes if p.runs}
    seen = job.driver.observe().processes
    same = {p.place for p in seen if p.runs and (p.place, p.pid) in running}
    _let_go(job, {step.group for w in begun for step in w.of(StepKind.DRAIN) if same.issuperset(step.places)})
    started = _starting(begun)
    if options.keep:
        job.note("--keep: nothing was stopped; `dplaunch status -v` lists what runs")
        return
    alive = [p for p in seen if p.alive and p.place in started - same]
    if alive:
        with phase(job, "take down", plural(len(alive), "process")):
            stop_in_order(job, alive)
    for node in sorted(job.driver.unreached) if started else ():
        job.note(
            f"{node} is unreachable: what was started there may still run; `dplaunch down` stops it later"
        )
