"""How a cluster stands: what its nodes and its router report, and the verdict on it."""

from __future__ import annotations

from msgspec.structs import replace

from dplaunch.fleet.change.differences import find_differences
from dplaunch.fleet.job import Job
from dplaunch.fleet.lookups import read_lookups
from dplaunch.fleet.membership import read_report
from dplaunch.fleet.proof.registry import read_registered
from dplaunch.fleet.verdict import mark_stuck, summarise
from dplaunch.model.observed import Observed
from dplaunch.model.summary import Summary
from dplaunch.reconcile import Wish, decide


def look(job: Job) -> tuple[Observed, Summary]:
    """What runs on the nodes, and the verdict on it; nodes that were lost are tried again."""
    lost = set(job.driver.unreached) or {n.name for n in job.plan.nodes if n.name not in job.driver.reached}
    if lost:
        job.driver.open(lost)
    router = read_report(job)
    observed = mark_stuck(job.driver.observe(health=True), router.stuck)
    summary = summarise(job.plan, observed, router.closed)
    alive = any(process.alive for process in observed.processes)
    registered = read_registered(job) if alive else None
    summary = replace(
        summary,
        skipped_prefill=router.skipped_prefill,
        registered=registered.describe() if registered else "",
        lookups=read_lookups(job) if alive else None,
    )
    if summary.stale:
        restarts = decide(job.plan, observed, Wish()).restarts
        summary = replace(summary, differences=find_differences(job, restarts))
    return observed, summary
