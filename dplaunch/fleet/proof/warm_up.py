"""Warm-up: the first requests of an engine compile and are slow; no client should wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from dplaunch import durations
from dplaunch.fleet.job import Job, phase
from dplaunch.fleet.proof.completion import completion, failure, judge_reply
from dplaunch.model.cluster import DECODE, WarmupSpec
from dplaunch.model.event import Failed
from dplaunch.model.plan import Endpoint
from dplaunch.words import plural

TIMEOUT = 600.0
"""Seconds for one request: the first one may compile for minutes."""
LOWEST, COUNT = 100, 128
"""Token ids of the prompts: in every vocabulary, and not special (usually bytes and letters)."""


def warm_up(job: Job, engines: Sequence[Endpoint]) -> tuple[Failed, ...]:
    """Send the plan's warm-up requests to every engine that computes prompts. Returns the failures."""
    warmup = job.plan.warmup
    wanted = [engine for engine in engines if engine.role != DECODE]
    if warmup is None or not wanted:
        return ()
    requests, of = plural(warmup.requests_per_engine, "request"), plural(len(wanted), "engine")
    with phase(job, "warm up", f"{requests} to each of {of}"):
        took: list[float] = []
        for number in range(warmup.requests_per_engine):
            slowest, failures = _round(job, wanted, warmup, number)
            if failures:
                return failures
            took.append(slowest)
        job.note(_latencies(wanted, took))
    return ()


def _round(
    job: Job, engines: Sequence[Endpoint], warmup: WarmupSpec, number: int
) -> tuple[float, tuple[Failed, ...]]:
    """One request to each engine, all at once: how long the slowest took, and what failed."""
    fields: dict[str, Any] = {
        "prompt": prompt(warmup.prompt_tokens, number),
        "max_tokens": warmup.output_tokens,
    }
    answers = job.driver.ask(replace(completion(job, e, **fields), timeout=TIMEOUT) for e in engines)
    failures = tuple(
        failure(job, engine.name, engine.node, f"failed its warm-up: it {wrong}")
        for engine in engines
        if (wrong := judge_reply(answers.get(engine.name)))
    )
    for failed in failures:
        job.emit(failed)
    return max(answer.seconds for answer in answers.values()) if answers else 0.0, failures


def prompt(tokens: int, number: int) -> list[int]:
    """A prompt of exactly ``tokens`` tokens; the first one depends on ``number``, so that no cache helps."""
    return [LOWEST + (number + 7 * place) % COUNT for place in range(tokens)]


def _latencies(engines: Sequence[Endpoint], took: Sequence[float]) -> str:
    of = f" (slowest of {plural(len(engines), 'engine')})" if len(engines) > 1 else ""
    first, last = durations.describe(took[0]), durations.describe(took[-1])
    return f"{engines[0].role} is warm: first request {first}, last {last}{of}"
