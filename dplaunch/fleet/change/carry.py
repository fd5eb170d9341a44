"""A wave carried out: drain, stop, hold, put, start; then await, prove, admit. An outcome per group.

Every step asks the nodes, so that a wave that broke off can be carried out again. The cluster's own failures
are outcomes; only Ctrl-C and a lock that was lost are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from dplaunch import durations
from dplaunch.errors import DplaunchError, Interrupted, LockedError, NotReadyError
from dplaunch.fleet.change.drain import drain
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.ready import Readiness
from dplaunch.fleet.change.stop import GRACE, stop_in_order
from dplaunch.fleet.containers import is_replaced, start_containers
from dplaunch.fleet.job import Job, as_error, phase
from dplaunch.fleet.logs.cause import explain_delay, explain_failures
from dplaunch.fleet.membership import align, read_states, release
from dplaunch.fleet.proof.cluster import prove_groups
from dplaunch.fleet.proof.stuck import find_stuck
from dplaunch.model.event import Failed, Started
from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import ROUTER, Endpoint, Place, Process
from dplaunch.model.step import Ended, Outcome, StepKind, Wave
from dplaunch.words import plural


class Carrying(Struct, frozen=True):
    """One wave being carried out. ``observed``: what ran before it, health asked."""

    job: Job
    wave: Wave
    options: ChangeOptions
    observed: Observed

    def carry(self, started: Callable[[], None]) -> tuple[Outcome, ...]:
        """All of its steps, or those before AWAIT where the verb detaches.

        ``started`` is called when everything has started and loads.
        """

        def steps() -> None:
            self.replace()
            started()
            if self.options.detach:
                release(self.job, self.wave.groups)
            else:
                self.establish()

        return self._carry(steps)

    def prove(self) -> tuple[Outcome, ...]:
        """Its steps AWAIT and PROVE: nothing is changed."""
        return self._carry(self.await_and_prove)

    def _carry(self, steps: Callable[[], None]) -> tuple[Outcome, ...]:
        try:
            steps()
        except (Interrupted, LockedError):
            raise
        except GroupsFailed as failed:
            return self._outcomes(failed.groups, failed.error)
        except DplaunchError as error:
            return self._outcomes(frozenset(self.wave.groups), error)
        return tuple(Outcome(group=group, ended=Ended.DONE) for group in self.wave.groups)

    def _outcomes(self, failed: frozenset[str], error: DplaunchError) -> tuple[Outcome, ...]:
        """A failure ends the wave for all its groups; those that did not fail themselves are skipped."""
        return tuple(
            Outcome(group=group, ended=Ended.FAILED, error=error)
            if group in failed
            else Outcome(group=group, ended=Ended.SKIPPED, error=error)
            for group in self.wave.groups
        )

    def replace(self) -> None:
        """Drain, stop, hold, put and start."""
        beside = self._handing_over()
        self._stop(beside)
        starting = self.wave.places(StepKind.START)
        start_containers(self.job, {node for node, _ in starting})
        for error in self.job.driver.put(self.job.plan, self._nodes_to_write()).values():
            raise error
        if starting:
            align(self.job, {step.group for step in self.wave.of(StepKind.HOLD)}, "held")
            with phase(self.job, "start", plural(len(starting), "process")):
                self._start(starting, beside)

    def _start(self, places: Collection[Place], beside: Mapping[Place, float]) -> None:
        """Start these processes, all nodes at once. Raises what was refused."""
        job, failures = self.job, []
        for result in job.driver.start(job.plan, places, job.secrets, beside):
            name, node, refusal = result.process, result.node, result.refusal
            if refusal is None:
                job.emit(Started(at=job.now, process=name, node=node, pid=result.pid))
            else:
                text = f"{name} on {node} was not started: {refusal.text.removeprefix(f'{name}: ')}"
                failures.append(Failed(at=job.now, process=name, node=node, text=text, hint=refusal.hint))
        for failure in failures:
            job.emit(failure)
        self._need(tuple(failures))
        for (_, name), seconds in beside.items():
            job.note(
                f"{name} took over without a gap; the one before it has "
                f"{durations.describe(seconds)} to finish its requests"
            )

    def _handing_over(self) -> dict[Place, float]:
        """Processes that serve until their new run takes over, and the seconds that they then have."""
        longest = max(self.job.plan.drain_timeout.values(), default=0.0)
        seconds = self.options.drain_timeout
        running = {process.place: process for process in self.observed.processes}
        restarted = self.wave.places(StepKind.STOP) & self.wave.places(StepKind.START)
        return {
            process.place: longest if seconds is None else seconds
            for process in self._processes(StepKind.START)
            if process.place in restarted & running.keys()
            and _takes_over(process, running[process.place])
            and not is_replaced(self.job, process.node)
        }

    def _nodes_to_write(self) -> set[str]:
        """Where something starts; of a whole cluster also where another revision was sent before."""
        wanted = {node for node, _ in self.wave.places(StepKind.PUT)}
        if self.options.wish.whole:
            revision = self.job.plan.revision
            wanted |= {node.name for node in self.observed.nodes if node.revision != revision}
        return wanted

    def _stop(self, beside: Mapping[Place, float]) -> None:
        leaving = self.wave.places(StepKind.STOP) - beside.keys()
        stopping = [p for p in self.observed.processes if p.alive and p.place in leaving]
        if not stopping:
            return
        groups = {step.group for step in self.wave.of(StepKind.DRAIN)}
        routed = any(process.runs for process in self.observed.processes if process.role == ROUTER)
        idle = drain(self.job, groups, self.options.drain_timeout, routed=routed)
        # An engine that is told to end waits for its requests. One that has none and takes long hangs.
        grace = GRACE if idle and groups.issuperset(process.group for process in stopping) else None
        with phase(self.job, "stop", plural(len(stopping), "process")):
            left = [verdict for verdict in stop_in_order(self.job, stopping, grace) if verdict.left]
        if left:
            first = left[0]
            raise DplaunchError(
                f"{first.process} on {first.node} could not be stopped: {first.left[0]}",
                hint=f"end it, then run `dplaunch {self.options.verb}` again",
            )

    def establish(self) -> None:
        """Await, prove and admit: the router opens every group of the wave."""
        self.await_and_prove()
        align(self.job, {step.group for step in self.wave.of(StepKind.ADMIT)}, "serving")

    def await_and_prove(self) -> None:
        """Wait until everything is ready, then prove it."""
        awaited = self._processes(StepKind.AWAIT)
        self._await(awaited)
        served = [e for e in self._served_before(awaited) if e.api.completions]
        if served:
            self._need(find_stuck(self.job, served))
        prove_groups(self.job, awaited, self._beside(), everything=self.options.all_pairs)

    def _served_before(self, processes: Collection[Process]) -> list[Endpoint]:
        """Endpoints of engines that served when the wave began, and that it leaves running."""
        seen = {process.place for process in self.observed.processes if process.serves}
        kept = seen - self.wave.places(StepKind.START)
        return [e for p in processes if p.kind == "engine" and p.place in kept for e in p.endpoints]

    def _await(self, processes: tuple[Process, ...]) -> None:
        """Wait until these are ready. Raises the first failure with its cause, or NotReadyError."""
        job = self.job
        with phase(job, "load", plural(len(processes), "process")):
            readiness = Readiness(job, processes, self.options.timeout or job.plan.ready_timeout)
            try:
                failures = readiness.wait()
            except NotReadyError as late:
                raise explain_delay(job, late, processes, readiness.loud) from late
            if failures:
                self._need(explain_failures(job, failures, processes, readiness.loud))

    def _processes(self, kind: StepKind) -> tuple[Process, ...]:
        places = self.wave.places(kind)
        return tuple(process for process in self.job.plan.processes if process.place in places)

    def _beside(self) -> set[Place]:
        """What served before, is not touched by this wave, and is of a group that is open as a whole."""
        touched = {place for step in self.wave.steps for place in step.places}
        serving = {p.place for p in self.observed.processes if p.serves}
        closed = {g for g, state in read_states(self.job).items() if state in ("held", "draining")}
        closed |= {p.group for p in self.job.plan.processes if p.place not in serving | touched}
        return {p.place for p in self.job.plan.processes if p.group not in closed} - touched

    def _need(self, failures: tuple[Failed, ...]) -> None:
        if failures:
            group_of = {process.name: process.group for process in self.job.plan.processes}
            groups = frozenset(group_of[f.process] for f in failures if f.process in group_of)
            raise GroupsFailed(groups, as_error(failures))


def _takes_over(new: Process, old: ObservedProcess) -> bool:
    """Whether ``new`` can be started beside ``old``: both at the same address, and it serves."""
    able = new.hands_over and old.hands_over and old.state is State.RUNNING and old.serves
    urls = [[endpoint.url for endpoint in one.endpoints] for one in (new, old)]
    return able and urls[0] == urls[1] and new.ports == old.ports


class GroupsFailed(Exception):  # noqa: N818 - carries an outcome, not an error of the verb
    """Processes of ``groups`` failed; ``error`` is the first failure."""

    def __init__(self, groups: frozenset[str], error: DplaunchError) -> None:
        super().__init__(error.text)
        self.groups = groups
        self.error = error
