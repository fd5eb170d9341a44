"""One request through a pair of engines: by our router's header, else in two phases (facts §3.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dplaunch.fleet.ask import probe
from dplaunch.fleet.cause import died
from dplaunch.fleet.job import Job
from dplaunch.fleet.prove import COMPLETION_TIMEOUT, completion, long_prompt, read, unanswered
from dplaunch.fleet.routes import chosen_by_header
from dplaunch.model.plan import Process
from dplaunch.model.proof import Answer, Pair

AT_ONCE = 64
"""Requests under way at a time."""
NOT_IN_SERVICE = 503
ADMITTED_WITHIN = 10.0
"""Seconds: the router asks engines each second, and may not have seen yet that all of a group serve."""
LOOK_EVERY = 0.5
HEADER = "X-Dplaunch-Pair"
HANDLE = "kv_transfer_params"
ASK_FOR_HANDLE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}

Reply = Mapping[str, Any]


def ask_pairs(job: Job, pairs: Sequence[Pair]) -> dict[Pair, Answer]:
    """One known-answer request through each of ``pairs``, ``AT_ONCE`` at a time."""
    answers: dict[Pair, Answer] = {}
    ask = _through_router if chosen_by_header(job.plan) else _in_two_phases
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        replies = ask(job, some)
        answers |= {pair: read(replies.get(pair.key)) for pair in some}
    return answers


def _through_router(job: Job, pairs: Sequence[Pair]) -> dict[str, Reply]:
    router = next(p for p in job.plan.processes if p.role == "router")
    deadline, waiting = job.now + ADMITTED_WITHIN, list(pairs)
    replies: dict[str, Reply] = {}
    while waiting:
        replies |= _ask(job, [(pair, router, {}) for pair in waiting], _stamp(job))
        waiting = [pair for pair in waiting if replies.get(pair.key, {}).get("status") == NOT_IN_SERVICE]
        if job.now >= deadline or (waiting and died(job, job.plan.processes)):
            break  # a group that lost an engine is not admitted any more
        if waiting:
            job.fleet.listen(lambda *_: None, until=lambda: False, deadline=job.now + LOOK_EVERY)
    return replies


def _in_two_phases(job: Job, pairs: Sequence[Pair]) -> dict[str, Reply]:
    """Prefill on its node, then decode on its own with the handle that prefill gave, if it gave one."""
    engines, stamp = {p.name: p for p in job.plan.processes}, _stamp(job)
    split = [pair for pair in pairs if len(pair.engines) > 1]
    first = {"max_tokens": 1, "min_tokens": 1, HANDLE: ASK_FOR_HANDLE}
    prefilled = _ask(job, [(pair, engines[pair.engines[0]], first) for pair in split], stamp)
    broken = {
        pair.key: _named(pair, wrong, prefilled.get(pair.key))
        for pair in split
        if (wrong := unanswered(prefilled.get(pair.key)))
    }
    second = [
        (pair, engines[pair.engines[-1]], _handle(prefilled.get(pair.key)))
        for pair in pairs
        if pair.key not in broken
    ]
    return {**_ask(job, second, stamp), **broken}


def _stamp(job: Job) -> str:
    """Makes request ids and prompts new: the KV of one that failed may still be held under the old id.

    And another pair may have left that of the old prompt in the decode engine's cache.
    """
    return f"{int(job.now * 1000)}"


def _ask(job: Job, asked: Iterable[tuple[Pair, Process, dict[str, Any]]], stamp: str) -> dict[str, Reply]:
    """One request for each pair, to the process and with the fields given; all at once.

    Every request of a pair names it: a router of ours goes that way, an engine does not look. Both phases
    have one request id, as from a router, and one prompt, which no other pair has.
    """
    questions = []
    for pair, process, fields in asked:
        request = completion(job, process, prompt=long_prompt(f"{stamp} {pair.key}"), **fields)
        request["key"] = pair.key
        own_id = f"dplaunch-{stamp}-{'-'.join(pair.engines)}"
        request["headers"] |= {HEADER: pair.key, "X-Request-Id": own_id}
        questions.append((process.node, request))
    return probe(job, questions, COMPLETION_TIMEOUT)


def _named(pair: Pair, wrong: str, reply: Reply | None) -> Reply:
    """The prefill engine's refusal, told as its own: the decode engine was never asked."""
    seconds = reply["seconds"] if reply else 0.0
    return {"error": f"{pair.engines[0]} {wrong}", "status": None, "body": "", "seconds": seconds}


def _handle(reply: Reply | None) -> dict[str, Any]:
    """What the decode engine needs to fetch the prompt's KV; nothing where prefill gave nothing."""
    try:
        handle = json.loads(reply["body"]).get(HANDLE) if reply else None
    except (ValueError, AttributeError):
        return {}
    return {HANDLE: handle} if handle else {}
