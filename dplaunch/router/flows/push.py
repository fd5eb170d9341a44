"""Decode first; it calls back to say where the prompt's KV has to go, and the prefill engine pushes it there.

The contract of vLLM-Ascend's MooncakeLayerwiseConnector (vllm-ascend,
``examples/disaggregated_prefill_v1/load_balance_proxy_layerwise_server_example.py`` and
``vllm_ascend/distributed/kv_transfer/kv_p2p/mooncake_layerwise_connector.py``): the decode request names a
URL; the decode engine posts the ``kv_transfer_params`` of the prefill request there as soon as it has memory
for the prompt; both requests have one id, by which the engines find each other.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from ..attempt import Attempt
from ..callbacks import Callback
from ..engines import Reply
from ..state import Member
from . import alone


async def run(attempt: Attempt) -> None:
    """Ask a decode engine for the answer, and a prefill engine when the decode engine calls back.

    A request of several sequences is computed by the decode engine alone: each of them has a place of its
    own, and a prefill request can name one.
    """
    if attempt.request.body.sequences > 1:
        attempt.count_without_kv()
        await alone.run(attempt)
        return
    decode = attempt.pick("decode")
    async with attempt.callbacks.expect(decode) as callback:
        await _run(attempt, decode, callback)


async def _run(attempt: Attempt, decode: Member, callback: Callback) -> None:
    pushed = asyncio.Event()
    answering = asyncio.ensure_future(_answer(attempt, decode, callback.url, pushed))
    prefilling = asyncio.ensure_future(_prefill(attempt, decode, callback, pushed))
    try:
        await asyncio.wait((answering, prefilling), return_when=asyncio.FIRST_COMPLETED)
        refusal = None
        if prefilling.done() and not attempt.client.status:
            refusal = prefilling.result()
        if refusal is None:
            await answering
    finally:
        answering.cancel()
        prefilling.cancel()
        await asyncio.gather(answering, prefilling, return_exceptions=True)
    if refusal is not None:
        await attempt.give(refusal)


async def _answer(attempt: Attempt, decode: Member, url: str, pushed: asyncio.Event) -> None:
    with attempt.lease_answer(decode):
        async with attempt.ask(decode, attempt.request.body.for_decode_first(url)) as answer:
            await attempt.relay(answer, first_byte=pushed.set)


async def _prefill(
    attempt: Attempt, decode: Member, callback: Callback, pushed: asyncio.Event
) -> Reply | None:
    """Return the answer of a prefill engine that refuses the request, None when all of its KV was pushed."""
    params = await callback.params
    prefill = attempt.pick("prefill")
    with attempt.lease_prefill(prefill) as pushed_from:
        with attempt.excuse(decode):
            content = attempt.request.body.for_prefill(attempt.request.kind, params)
            reply = await attempt.prefill(prefill, content)
        pushed_from.answered()
        if reply.status != HTTPStatus.OK:
            return reply
        await pushed.wait()
    return None
