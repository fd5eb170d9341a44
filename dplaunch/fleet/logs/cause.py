"""Why processes failed: the cause in their own logs, and the first cause across all logs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.diagnose import Evidence
from dplaunch.errors import NotReadyError
from dplaunch.fleet.job import Job
from dplaunch.fleet.logs.follow import FETCH_DEADLINE, Following
from dplaunch.model.diagnosis import Diagnosis, EndedProcess, Sighting
from dplaunch.model.event import Failed
from dplaunch.model.observed import ObservedProcess, State
from dplaunch.model.plan import Process
from dplaunch.model.remote import LogQuery
from dplaunch.ranges import fold

LAST_LOOK = LogQuery(tail=200)
"""What is read of every log after a failure, before anything is taken down."""
LONG_LOOK = LogQuery(tail=20_000)
"""The same of logs that hold an error: tracebacks of all its workers may follow the line that explains it."""
PATIENCE = 10.0
"""Seconds for a look after a failure."""


class Cause(Struct, frozen=True):
    """``line`` as logged; ``hint`` only where a signature matches it."""

    line: str = ""
    hint: str = ""


def find_cause(tail: Sequence[str]) -> Cause:
    """The cause in the end of one log, else its last line."""
    evidence = Evidence()
    evidence.add("", "", tail)
    first = evidence.conclude(ended=("",)).first
    spoken = [line.strip() for line in tail if line.strip()]
    return Cause(first.text, hint_of(first)) if first else Cause((spoken or [""])[-1])


def hint_of(sighting: Sighting, silent: Iterable[str] = ()) -> str:
    """Cause, remedy and suspects; empty for an unknown error."""
    known, names = sighting.signature, fold(silent)
    if known is None:
        return ""
    suspects = [f"the log of {names} shows no error: look there first"] if names else []
    return "; ".join([known.cause, known.remedy, *suspects, "run `dplaunch diagnose` for details"])


def examine(job: Job, processes: Sequence[Process], query: LogQuery) -> tuple[Diagnosis, list[str]]:
    """Read these processes' logs from their nodes; what they show together, and why some were not read."""
    evidence = Evidence(job.driver.ahead())
    refusals = _read(job, processes, query, evidence, FETCH_DEADLINE)
    return evidence.conclude(), refusals


def _read(
    job: Job, processes: Sequence[Process], query: LogQuery, evidence: Evidence, patience: float
) -> list[str]:
    for process in processes:
        evidence.add(process.name, process.node, ())
    following = Following(
        job,
        [(p.name, p.node, "") for p in processes],
        query,
        lambda chunk: evidence.add(chunk.process, chunk.node, chunk.lines),
        patience,
    )
    following.run()
    return following.refusals


def _look_once_more(
    job: Job, processes: Sequence[Process], loud: Collection[str], gone: Collection[str] = ()
) -> Diagnosis:
    """All logs after a failure; those of ``loud`` processes almost completely. ``gone``: what has ended."""
    evidence = Evidence(job.driver.ahead())
    _read(job, [p for p in processes if p.name in loud], LONG_LOOK, evidence, PATIENCE)
    _read(job, [p for p in processes if p.name not in loud], LAST_LOOK, evidence, PATIENCE)
    return evidence.conclude(ended=gone)


def diagnose(job: Job, processes: Sequence[Process], query: LogQuery) -> tuple[Diagnosis, list[str]]:
    """``examine``, with what the nodes know: a process that was killed or hangs logs no error."""
    evidence = Evidence(job.driver.ahead())
    refusals = _read(job, processes, query, evidence, FETCH_DEADLINE)
    if query.previous:
        return evidence.conclude(), refusals
    wanted = {process.place for process in processes}
    seen = [one for one in job.driver.observe(health=True).processes if one.place in wanted]
    gone = [one for one in seen if one.state is State.EXITED]
    found = evidence.conclude(
        serving=[one.name for one in seen if one.runs and one.healthy],
        ended=[one.name for one in gone],
    )
    ended = tuple(EndedProcess(one.name, one.node, one.ending) for one in gone)
    return replace(found, ended=ended, waiting=_find_waiting(seen, gone)), refusals


def _find_waiting(seen: Sequence[ObservedProcess], gone: Sequence[ObservedProcess]) -> tuple[str, ...]:
    """The processes that may be stuck. One is left out that only refuses because of another.

    An engine refuses when a rank of its group has ended, and a service when any engine does not serve.
    """
    refusing = [one for one in seen if one.runs and one.healthy is False]
    broken = {one.group for one in gone}
    engines = [one for one in refusing if one.kind == "engine" and one.group not in broken]
    services = [one for one in refusing if one.kind != "engine"]
    lame = any(one.kind == "engine" for one in (*refusing, *gone))
    return tuple(one.name for one in engines or (() if lame else services))


def find_dead(job: Job, processes: Sequence[Process]) -> tuple[Failed, ...]:
    """Processes that ended by themselves after they were ready, which explains a proof without answers."""
    wanted = {process.place for process in processes}
    gone = [one for one in job.driver.observe().processes if one.state is State.EXITED]
    return tuple(
        Failed(
            at=job.now,
            process=one.name,
            node=one.node,
            text=f"{one.name} on {one.node} {'was ' if one.signal else ''}{one.ending} after it was ready",
            log=one.log,
            mute=bool(one.signal) or one.exit_code == 0,
        )
        for one in gone
        if one.place in wanted
    )


def explain_failures(
    job: Job, failures: tuple[Failed, ...], processes: Sequence[Process], loud: Collection[str]
) -> tuple[Failed, ...]:
    """The failures, with the first cause across all logs; the failure that caused the others comes first.

    ``loud``: further processes whose logs contain errors.
    """
    gone = {failed.process for failed in failures}
    diagnosis = _look_once_more(job, processes, {*loud, *gone}, gone)
    first = (diagnosis.first if diagnosis.failed else None) or _from_tails(failures)
    if first is None:
        return failures
    mute = [f for f in failures if f.mute and f.process not in _heard(diagnosis, first)]
    if mute and first.follows:  # all others only follow from one that logged no error
        where = f"`dmesg` on {mute[0].node}: the kernel kills what takes too much memory"
        hint = f"its log shows no error; see `dplaunch logs {mute[0].process} -n 50`, and {where}"
        return (replace(mute[0], hint=hint), *(f for f in failures if f is not mute[0]))
    hint = hint_of(first, diagnosis.silent)
    culprits = [f for f in failures if f.process == first.process]
    if not culprits:
        cause = f"{first.process} on {first.node}: {first.text}"
        job.note(f"earlier error of {cause}")
        return (replace(failures[0], cause=cause, hint=hint or failures[0].hint), *failures[1:])
    culprit = replace(culprits[0], cause=first.text, hint=hint or culprits[0].hint)
    return (culprit, *(f for f in failures if f not in culprits))


def explain_answers(
    job: Job, failures: tuple[Failed, ...], processes: Sequence[Process]
) -> tuple[Failed, ...]:
    """Failures of a proof, which were reported; the first with the cause that its group's logs show, if any.

    An engine answers 500 a second or more before it ends: what broke it stands in its log already.
    """
    failed = {failure.process for failure in failures}
    loud = [p for p in processes if not failed.isdisjoint({p.name, *(e.name for e in p.endpoints)})]
    groups = {process.group for process in loud}
    diagnosis = _look_once_more(
        job, [p for p in processes if p.group in groups], {process.name for process in loud}
    )
    first = diagnosis.first
    if first is None or first.follows or not diagnosis.failed:
        return failures
    cause = f"{first.process} on {first.node}: {first.text}"
    job.note(f"error in the log of {cause}")
    hint = hint_of(first, diagnosis.silent) or failures[0].hint
    return (replace(failures[0], cause=cause, hint=hint), *failures[1:])


def explain_delay(
    job: Job, late: NotReadyError, processes: Sequence[Process], loud: Collection[str]
) -> NotReadyError:
    """The time-out, with the first cause that the logs show, if any."""
    diagnosis = _look_once_more(job, processes, loud)
    first = diagnosis.first
    if first is None or not diagnosis.failed:
        return late
    detail = f"{first.process} on {first.node}: {first.text}"
    return NotReadyError(late.text, hint=hint_of(first, diagnosis.silent) or late.hint, detail=(detail,))


def _heard(diagnosis: Diagnosis, first: Sighting) -> set[str]:
    return {name for sighting in (first, *diagnosis.others) for name in sighting.processes}


def _from_tails(failures: Iterable[Failed]) -> Sighting | None:
    """The first cause in the tails that came with the exits, where the logs could not be read."""
    evidence = Evidence()
    for failed in failures:
        evidence.add(failed.process, failed.node, (failed.cause, *failed.tail))
    return evidence.conclude().first
