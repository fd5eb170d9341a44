"""One request through a pair of endpoints: by our router's header, else in two phases on their nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from dplaunch.fleet.job import Job
from dplaunch.fleet.logs.cause import find_dead
from dplaunch.fleet.proof.completion import completion, judge_reply, long_prompt, read
from dplaunch.fleet.proof.routes import chooses_by_header
from dplaunch.model.plan import Endpoint
from dplaunch.model.proof import Answer, Pair
from dplaunch.model.remote import HttpReply

AT_ONCE = 64
"""Requests under way at a time."""
SEEN_WITHIN = 10.0
"""Seconds: the router asks engines each second, and may not know yet that a whole group is healthy."""
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


def ask_pairs(job: Job, pairs: Sequence[Pair], stamp: str) -> dict[Pair, Answer]:
    """One known-answer request through each of ``pairs``, ``AT_ONCE`` at a time.

    ``stamp`` makes request ids and prompts unique, see ``make_stamp``.
    """
    router = job.plan.router_process
    answers: dict[Pair, Answer] = {}
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        if router is not None and chooses_by_header(job.plan):
            replies = _through_router(job, router.endpoints[0], some, stamp)
        else:
            replies = _in_two_phases(job, some, stamp)
        answers |= {pair: read(replies.get(pair.key)) for pair in some}
    return answers


def _through_router(job: Job, router: Endpoint, pairs: Sequence[Pair], stamp: str) -> dict[str, HttpReply]:
    deadline, waiting = job.now + SEEN_WITHIN, list(pairs)
    replies: dict[str, HttpReply] = {}
    while waiting:
        replies |= _ask(job, [(pair, router, {}) for pair in waiting], stamp)
        waiting = [pair for pair in waiting if is_out_of_service(replies.get(pair.key))]
        if job.now >= deadline or (waiting and find_dead(job, job.plan.processes)):
            break  # the router does not open a group that lost an engine
        if waiting:
            job.driver.pause(LOOK_EVERY)
    return replies


def is_out_of_service(reply: HttpReply | None) -> bool:
    """Whether the router keeps the chosen group closed, perhaps only for a moment."""
    return reply is not None and reply.status == HTTPStatus.SERVICE_UNAVAILABLE


def _in_two_phases(job: Job, pairs: Sequence[Pair], stamp: str) -> dict[str, HttpReply]:
    """Prefill on its node, then decode on its own with the handle that prefill returned, if it did."""
    by_name = {e.name: e for e in job.plan.endpoints}
    split = [pair for pair in pairs if len(pair.engines) > 1]
    first = {"max_tokens": 1, "min_tokens": 1, HANDLE: ASK_FOR_HANDLE}
    prefilled = _ask(job, [(pair, by_name[pair.engines[0]], first) for pair in split], stamp)
    broken = {
        pair.key: _named(pair, wrong, prefilled.get(pair.key))
        for pair in split
        if (wrong := judge_reply(prefilled.get(pair.key)))
    }
    second = [
        (pair, by_name[pair.engines[-1]], _handle(prefilled.get(pair.key)))
        for pair in pairs
        if pair.key not in broken
    ]
    return {**_ask(job, second, stamp), **broken}


def make_stamp(job: Job) -> str:
    """Makes request ids and prompts unique.

    KV of a failed request may still be held under its id, and KV of a repeated prompt may be in the decode
    engine's cache.
    """
    return f"{int(job.now * 1000)}"


def _ask(
    job: Job, asked: Iterable[tuple[Pair, Endpoint, dict[str, Any]]], stamp: str
) -> dict[str, HttpReply]:
    """One request for each pair, to the endpoint and with the fields given; all at once.

    Every request names its pair: our router follows the header, an engine ignores it. Both phases share one
    request id, as from a router, and one prompt, which no other pair has.
    """
    questions = []
    for pair, endpoint, fields in asked:
        prompt = long_prompt(f"{stamp} {pair.key}")
        request = completion(job, endpoint, pair.key, prompt=prompt, **fields)
        own_id = f"dplaunch-{stamp}-{'-'.join(pair.engines)}"
        named = {HEADER: pair.key, "X-Request-Id": own_id}
        questions.append(replace(request, headers={**request.headers, **named}))
    return job.driver.ask(questions)


def _named(pair: Pair, wrong: str, reply: HttpReply | None) -> HttpReply:
    """The prefill engine's failure under its name; the decode engine was not asked."""
    return HttpReply(error=f"{pair.engines[0]} {wrong}", seconds=reply.seconds if reply else 0.0)


def _handle(reply: HttpReply | None) -> dict[str, Any]:
    """What the decode engine needs to fetch the prompt's KV; nothing where prefill returned nothing."""
    try:
        handle = json.loads(reply.body).get(HANDLE) if reply else None
    except (ValueError, AttributeError):
        return {}
    return {HANDLE: handle} if handle else {}
