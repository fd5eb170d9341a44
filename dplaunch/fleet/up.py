"""The walk of ``up``: observe, diff, apply, wait until ready, prove."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from dplaunch.errors import DplaunchError, Interrupted, LockedError, NotReadyError, UsageError
from dplaunch.fleet.cause import died, explain_delay, explain_failures
from dplaunch.fleet.drain import drain
from dplaunch.fleet.job import Job, connect_all, phase
from dplaunch.fleet.lock import FAILED, PROVED, READY, audit, locked
from dplaunch.fleet.observe import need_started, observe
from dplaunch.fleet.pairs import prove_routes, report
from dplaunch.fleet.prove import prove_engines
from dplaunch.fleet.ready import Readiness
from dplaunch.fleet.routes import chosen, counted
from dplaunch.fleet.start import put_files, start
from dplaunch.fleet.stop import stop_in_order
from dplaunch.fleet.verdict import last_proof
from dplaunch.fleet.warm import warm_up
from dplaunch.model.event import Failed, Note
from dplaunch.model.observed import Observed, ObservedProcess
from dplaunch.model.plan import Action, Change, Process
from dplaunch.plan.diff import diff
from dplaunch.words import plural

Confirm = Callable[[tuple[Action, ...]], bool]
"""Shown what would stop; True goes on."""


class Preflight(Protocol):
    """Looks at the nodes where something is started; the walk says when."""

    def before(self, job: Job, observed: Observed) -> None:
        """Under the lock, nothing is touched yet. Raises where a start would not work."""

    def meanwhile(self, job: Job) -> None:
        """Everything was started and will load for long: ask what takes longer, and do not wait."""

    def tell(self, job: Job) -> None:
        """The answers are due: all is loaded, or has failed. May be called again."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The flags of ``up`` that the walk needs."""

    only: str | None = None
    force: bool = False
    keep: bool = False
    detach: bool = False
    timeout: float | None = None
    """Seconds; None is the cluster file's ready_timeout."""
    all_pairs: bool = False
    """Ask through every pair of engines, however many they are."""
    verb: str = "up"
    preflight: Preflight | None = None


@dataclass(frozen=True, slots=True)
class UpResult:
    """What ``up`` did. ``ready`` is False only after ``--detach``."""

    actions: tuple[Action, ...]
    ready: bool
    changed: bool

    @property
    def started(self) -> int:
        """How many processes, those that were stopped before among them."""
        return len(_starting(self.actions))


def preview(job: Job, options: UpOptions) -> tuple[tuple[Action, ...], Observed]:
    """What ``up`` would do, from a fresh look at every node. Touches nothing."""
    connect_all(job)
    observed = observe(job)
    return diff(job.plan, observed, only=options.only, force=options.force), observed


def up(job: Job, options: UpOptions, confirm: Confirm, begins: Callable[[], None] = lambda: None) -> UpResult:
    """Bring the cluster to its plan. Raises the failure after taking down what it started.

    ``begins`` is called when nothing speaks against it any more, before anything is changed.
    """
    if options.detach and any(p.after for p in job.plan.processes):
        raise UsageError(
            "--detach cannot start a router that must start after the engines serve",
            hint="leave --detach out, or use `router: {kind: dplaunch}`, which starts together with them",
        )
    connect_all(job)
    with locked(job, options.verb):
        observed = observe(job, health=options.only is not None)  # pairs are proved with those that serve
        actions = diff(job.plan, observed, only=options.only, force=options.force)
        with job.fleet.unheard():
            agreed = confirm(actions)
        if not agreed:
            raise UsageError("nothing was changed")
        if options.preflight and _starting(actions):
            options.preflight.before(job, observed)
        begins()
        return apply(job, options, actions, observed)


def restart(job: Job, names: Collection[str]) -> UpResult:
    """Stop and start these processes (whole groups), whatever their state; prove them."""
    connect_all(job)
    with locked(job, "restart"):
        observed = observe(job, health=True)  # pairs are proved with those that serve
        chosen = [p for p in job.plan.processes if p.name in names]
        actions = tuple(Action(Change.RESTART, p.name, p.node, "asked for") for p in chosen)
        return apply(job, UpOptions(verb="restart"), actions, observed)


def wait_ready(job: Job, timeout: float | None) -> None:
    """Wait until all of the plan serves, and prove it. Changes nothing; what was never started is no wait."""
    connect_all(job)
    need_started(job, "wait for")
    try:
        await_ready(job, job.plan.processes, timeout)
        prove(job, job.plan.processes)
    except Interrupted:
        raise
    except DplaunchError as error:
        audit(job, "status --wait", FAILED + error.text)
        raise
    audit(job, "status --wait", PROVED)


def apply(job: Job, options: UpOptions, actions: tuple[Action, ...], observed: Observed) -> UpResult:
    """Carry out ``actions``; the caller holds the lock."""
    changed = any(a.change is not Change.KEEP for a in actions)
    starting = _starting(actions)
    # by place: a node that was away may still run, under the same name, what another serves now
    places = {(a.node, a.process) for a in actions if a.change in (Change.STOP, Change.RESTART)}
    stopping = [p for p in observed.processes if p.alive and p.place in places]
    if changed:
        audit(job, options.verb, "began")
    try:
        _replace(job, observed, stopping, starting)
        if options.preflight and starting:
            options.preflight.meanwhile(job)
        if options.detach:
            _tell(job, options)
            audit(job, options.verb, "detached")
            return UpResult(actions, ready=False, changed=changed)
        beside = {p.name for p in observed.processes if p.healthy and p.place not in places}
        _serve(job, options, starting, {a.process for a in actions if a.change is not Change.STOP}, beside)
    except Interrupted:
        audit(job, options.verb, "interrupted")
        raise
    except LockedError:
        raise  # somebody else is at work on it now
    except DplaunchError as error:
        _tear_down(job, options, starting, error)
        _tell(job, options)
        raise
    phases = {name: round(seconds, 3) for name, seconds in job.took.items()}
    standing = _standing(options, observed)
    if changed:
        audit(job, options.verb, READY, started=len(starting), phases=phases, **standing)
    else:
        audit(job, options.verb, PROVED, **standing)
    return UpResult(actions, ready=True, changed=changed)


def _standing(options: UpOptions, observed: Observed) -> dict[str, str]:
    """A part that is proved anew does not mend what an earlier proof found in the whole."""
    earlier = last_proof(observed)
    partly = options.only is not None or options.verb == "restart"
    return {"unproved": earlier.said} if partly and earlier and not earlier.holds else {}


def _starting(actions: tuple[Action, ...]) -> set[str]:
    return {a.process for a in actions if a.change in (Change.START, Change.RESTART)}


def _replace(job: Job, observed: Observed, stopping: list[ObservedProcess], starting: set[str]) -> None:
    if stopping:
        drain(job, observed, {p.name for p in stopping})
        with phase(job, "stop", plural(len(stopping), "process")):
            left = [v for v in stop_in_order(job, stopping) if v.left]
        if left:
            first = left[0]
            raise DplaunchError(f"{first.process} on {first.node} could not be stopped: {first.left[0]}")
        put_files(job, {node.name for node in job.plan.nodes})  # the router's members among them
    if not starting:
        return
    at_once = {p.name for p in job.plan.processes if p.name in starting and not p.after}
    with phase(job, "start", plural(len(at_once), "process")):
        if not stopping:
            put_files(job, {node.name for node in job.plan.nodes})
        _succeed(start(job, at_once))


def _serve(job: Job, options: UpOptions, starting: set[str], names: set[str], beside: set[str]) -> None:
    wanted = tuple(p for p in job.plan.processes if p.name in names)
    await_ready(job, tuple(p for p in wanted if not p.after), options.timeout)
    _tell(job, options)
    last = tuple(p for p in wanted if p.after)
    if last:
        with phase(job, "start", ", ".join(p.name for p in last)):
            _succeed(start(job, {p.name for p in last} & starting))
        await_ready(job, last, options.timeout)
    prove(job, wanted, everything=options.all_pairs, beside=beside)


def _tell(job: Job, options: UpOptions) -> None:
    if options.preflight:
        options.preflight.tell(job)


def await_ready(job: Job, processes: tuple[Process, ...], timeout: float | None) -> None:
    """Wait until all serve. Raises the first failure with its cause, NotReadyError when time is up."""
    with phase(job, "load", plural(len(processes), "process")):
        readiness = Readiness(job, processes, timeout or job.plan.ready_timeout)
        try:
            failures = readiness.wait()
        except NotReadyError as late:
            raise explain_delay(job, late, processes, readiness.loud) from late
        _succeed(explain_failures(job, failures, processes, readiness.loud) if failures else ())


def prove(
    job: Job, processes: tuple[Process, ...], *, everything: bool = False, beside: Collection[str] = ()
) -> None:
    """Real answers of all. Raises the first failure: an engine that died meanwhile before what it caused."""
    try:
        _prove(job, processes, everything=everything, beside=beside)
    except (Interrupted, LockedError):
        raise
    except DplaunchError:
        dead = died(job, processes)
        for failure in dead:
            job.emit(failure)
        _succeed(explain_failures(job, dead, processes, ()) if dead else ())
        raise


def _prove(job: Job, processes: tuple[Process, ...], *, everything: bool, beside: Collection[str]) -> None:
    """Warm the engines up, one completion on each, then through their pairs and the router.

    Of a part of the plan, pairs are asked with the engines ``beside`` it, which are known to serve.
    ``everything``: all of them, however many. Raises the first failure.
    """
    engines = [p for p in processes if p.kind == "engine"]
    _succeed(warm_up(job, engines))
    with phase(job, "prove", f"one completion on each of {plural(len(engines), 'engine')}"):
        _succeed(prove_engines(job, engines))
    whole = len(processes) == len(job.plan.processes)
    router = next((p for p in processes if p.role == "router"), None)
    names = {p.name for p in engines}
    able = [p for p in job.plan.processes if p.kind == "engine" and p.name in names.union(beside)]
    pairs, total = chosen(able, everything=everything, about=None if whole else names)
    serving = {p.name for p in processes}.union(beside)
    if pairs and not all(p.name in serving for p in job.plan.processes if p.role == "router"):
        text = "the router does not run: no pair of engines was asked; `dplaunch up` starts it and proves all"
        job.emit(Note(at=job.now, text=text))
    elif whole or (pairs and beside):
        with phase(job, "prove pairs", counted(pairs, total)):
            _succeed(report(job, prove_routes(job, pairs, total, router)))
    elif router:
        with phase(job, "prove router"):
            _succeed(report(job, prove_routes(job, (), 0, router)))


def _tear_down(job: Job, options: UpOptions, started: set[str], error: DplaunchError) -> None:
    """Leave nothing half-dead: stop what this run started, say what could not be stopped."""
    if options.keep:
        job.emit(Note(at=job.now, text="--keep: what runs goes on; `dplaunch status -v` shows it"))
    elif started:
        _take_down(job, started)
    audit(job, options.verb, FAILED + error.text)


def _take_down(job: Job, started: set[str]) -> None:
    if job.fleet.unreached:
        job.fleet.open(set(job.fleet.unreached))
    observed = observe(job)
    places = {p.place for p in job.plan.processes if p.name in started}
    alive = [p for p in observed.processes if p.alive and p.place in places]
    if alive:
        with phase(job, "take down", plural(len(alive), "process")):
            stop_in_order(job, alive)
    for node in sorted(job.fleet.unreached):
        text = (
            f"{node} cannot be reached: what was started there may still run; `dplaunch down` when it is back"
        )
        job.emit(Note(at=job.now, text=text))


def _succeed(failures: tuple[Failed, ...]) -> None:
    """Raise the first failure as the error of the verb; the events have shown them all."""
    if not failures:
        return
    first = failures[0]
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    detail = tuple(filter(None, (first.cause, f"log: {first.node}:{first.log}" if first.log else "")))
    hint = first.hint or f"dplaunch logs {first.process} -n 50"
    raise DplaunchError(first.text + others, hint=hint, detail=detail, told=True)
