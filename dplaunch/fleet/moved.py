"""Whether KV moved: what decode engines count as come from elsewhere, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dplaunch.fleet.ask import probe
from dplaunch.fleet.job import Job, authorization
from dplaunch.fleet.prove import HTTP_OK
from dplaunch.model.plan import Process
from dplaunch.model.proof import Moved

COUNTERS = (
    ("vllm:prompt_tokens_by_source_total", 'source="external_kv_transfer"'),
    ("vllm:nixl_bytes_transferred_sum", ""),
)
"""Metric and label, the better one first: the engine's account of prompts, then the connector's of bytes."""
TIMEOUT = 10.0
SETTLE_FOR = 15.0
"""Seconds until a counter that did not grow counts as standing still: some are written now and then."""
LOOK_EVERY = 0.5

Figures = Mapping[str, float]
"""Metric → value."""


def tally(job: Job, engines: Iterable[Process]) -> dict[str, Figures]:
    """What each engine counts now, asked on its own node; without those that do not answer."""
    grep = f"^({'|'.join(metric for metric, _ in COUNTERS)})[{{ ]"
    questions = [
        (
            engine.node,
            {
                "key": engine.name,
                "url": f"{engine.endpoints[0].url}/metrics",
                "method": "GET",
                "headers": authorization(job),
                "timeout": TIMEOUT,
                "grep": grep,
            },
        )
        for engine in engines
    ]
    answers = probe(job, questions, TIMEOUT)
    return {name: figures(a["body"]) for name, a in answers.items() if a.get("status") == HTTP_OK}


def figures(page: str) -> Figures:
    """The counters on a page of /metrics, summed over their label sets."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        for metric, label in COUNTERS:
            if line.startswith((f"{metric}{{", f"{metric} ")):
                # a family without this label has it at 0
                found[metric] = found.get(metric, 0.0) + (_value(line) if label in line else 0.0)
    return found


def _value(line: str) -> float:
    try:
        return float(line.rpartition("}")[2].split()[0])
    except (ValueError, IndexError):
        return 0.0


def grown(before: Figures, after: Figures) -> float | None:
    """By how much the best counter that is there has grown; None where there is none."""
    metric = next((metric for metric, _ in COUNTERS if metric in after), None)
    return None if metric is None else after[metric] - before.get(metric, 0.0)


def moved(job: Job, engines: Iterable[Process], before: Mapping[str, Figures]) -> tuple[Moved, ...]:
    """By how much each engine's counter has grown since ``before``; one that stands still is asked again."""
    waiting, deadline = list(engines), job.now + SETTLE_FOR
    found: dict[str, Moved] = {engine.name: Moved(engine.name, engine.node, None) for engine in waiting}
    while waiting:
        for name, after in tally(job, waiting).items():
            if name in before:  # since when it grew is not known otherwise
                found[name] = Moved(name, found[name].node, grown(before[name], after))
        waiting = [engine for engine in waiting if found[engine.name].wrong]
        if job.now >= deadline:
            break
        if waiting:
            job.fleet.listen(lambda *_: None, until=lambda: False, deadline=job.now + LOOK_EVERY)
    return tuple(found.values())
