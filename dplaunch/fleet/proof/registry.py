"""Ranks that report to Redis: who is there, held against the plan."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.proof.completion import failure
from dplaunch.model.event import Failed
from dplaunch.model.plan import Process, Registry
from dplaunch.model.remote import HttpReply, HttpRequest
from dplaunch.ranges import fold

PATIENCE = 30.0
LOOK_EVERY = 1.0
TIMEOUT = 5.0


class Registered(Struct, frozen=True, kw_only=True):
    """What lies in Redis. ``lacking``: process → what it lacks, in words; ``wrong``: why nothing is known."""

    where: str
    found: int = 0
    wanted: int = 0
    lacking: Mapping[str, str] = field(default_factory=dict)
    wrong: str = ""

    def describe(self) -> str:
        """``Redis at 192.0.2.1:6379: 15 of 16 ranks have reported; serve@f2 on f2 lacks rank 3``."""
        if self.wrong:
            return f"{self.where}: {self.wrong}"
        lacks = "".join(f"; {text}" for text in self.lacking.values())
        return f"{self.where}: {self.found} of {self.wanted} ranks have reported{lacks}"


def read_registered(job: Job) -> Registered | None:
    """What the ranks of the plan have reported; None where they do not report to Redis."""
    registry = job.plan.registry
    if registry is None:
        return None
    password = job.secrets.get(registry.password, "") if registry.password else ""
    commands = [["TIME"], ["HGETALL", registry.key]]
    request = HttpRequest(
        key="registry",
        node=registry.node,
        url=f"redis://{registry.address}",
        body=json.dumps(commands),
        headers={"Password": password} if password else {},
        timeout=TIMEOUT,
    )
    return judge(job.plan.processes, registry, job.driver.ask([request]).get("registry"))


def await_registered(job: Job) -> tuple[Failed, ...]:
    """Wait until every rank has reported. Returns the failures, reported: by process where it is known."""
    found = read_registered(job)
    if found is None:
        return ()
    deadline = job.now + PATIENCE
    with phase(job, "register", "ranks in Redis"):
        while found is not None and found.found < found.wanted and job.now < deadline:
            job.driver.pause(LOOK_EVERY)
            found = read_registered(job)
    failures = tuple(_failures(job, found)) if found is not None else ()
    for failed in failures:
        job.emit(failed)
    return failures


def judge(processes: tuple[Process, ...], registry: Registry, reply: HttpReply | None) -> Registered:
    """The reply to TIME and HGETALL, held against the ranks of ``processes``."""
    where = f"Redis at {registry.address}"
    engines = [process for process in processes if process.kind == "engine" and process.endpoints]
    wanted = sum(len(process.seats) for process in engines)
    if reply is None or reply.status is None:
        reason = reply.error if reply else "its node does not respond"
        return Registered(where=where, wanted=wanted, wrong=f"cannot be asked ({reason})")
    try:
        (seconds, micros), pairs = json.loads(reply.body)
        now = int(seconds) + int(micros) / 1e6
        entries = [(name, json.loads(text)) for name, text in zip(pairs[::2], pairs[1::2], strict=True)]
        seen = _by_place(entries, now - registry.expires)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        wrong = f"what lies in {registry.key} cannot be read ({error})"
        return Registered(where=where, wanted=wanted, wrong=wrong)
    lacking = {p.name: text for p in engines if (text := _lacks(p, seen[_place(p, registry)]))}
    found = sum(min(len(p.seats), len(seen[_place(p, registry)])) for p in engines)
    return Registered(where=where, found=found, wanted=wanted, lacking=lacking)


def _by_place(entries: list[tuple[str, Any]], oldest: float) -> defaultdict[tuple[str, str], set[int]]:
    """(role, host) → ranks that have reported since ``oldest``."""
    seen: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for name, entry in entries:
        rank = name.rpartition("_")[2]
        if entry["ts"] >= oldest:
            seen[entry["role"], entry["host"]].add(int(rank) if rank.isdecimal() else 0)
    return seen


def _place(process: Process, registry: Registry) -> tuple[str, str]:
    return registry.roles.get(process.role, process.role), process.seats[0].address


def _lacks(process: Process, seen: set[int]) -> str:
    missing = [str(seat.rank) for seat in process.seats if seat.rank not in seen]
    if not missing:
        return ""
    ranks = f"rank {missing[0]}" if len(missing) == 1 else f"ranks {fold(missing)}"
    return f"{process.name} on {process.node} lacks {ranks}"


def _failures(job: Job, found: Registered) -> Iterator[Failed]:
    if found.wrong:
        first = next(process for process in job.plan.processes if process.kind == "engine")
        yield failure(job, first.name, first.node, f"reports to {found.describe()}")
    for process in job.plan.processes:
        if process.name in found.lacking:
            ranks = found.lacking[process.name].partition(" lacks ")[2]
            yield failure(job, process.name, process.node, f"has not reported {ranks} to {found.where}")
