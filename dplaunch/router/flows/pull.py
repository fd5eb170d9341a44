"""Prefill first; then the decode engine pulls the prompt's KV from the prefill engine.

The contract of vLLM's NixlConnector and vLLM-Ascend's MooncakeConnectorV1: ``kv_transfer_params`` of the
prefill engine's answer go into the decode engine's request (vllm-ascend,
``examples/disaggregated_prefill_v1/load_balance_proxy_server_example.py``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from .. import body as bodies
from ..attempt import Attempt
from ..engines import EngineFaultError, Reply
from ..state import Member


async def run(attempt: Attempt) -> None:
    """Ask a prefill engine for one token and a handle to its KV, then a decode engine for the answer.

    The prefill engine is counted until the decode engine's first byte: only then has the KV been pulled.
    """
    body = attempt.request.body
    prefill = attempt.pick("prefill")
    with attempt.lease_prefill(prefill) as pulled_from:
        reply = await attempt.prefill(prefill, body.for_prefill(attempt.request.kind))
        pulled_from.answered()
        if reply.status != HTTPStatus.OK:  # the client's own mistake, found by the first engine
            await attempt.give(reply)
            return
        content = body.for_decode(_handle(attempt, prefill, reply))
        decode = attempt.pick("decode")
        with attempt.lease_answer(decode):
            async with attempt.ask(decode, content) as answer:
                await attempt.relay(answer, first_byte=pulled_from.end)


def _handle(attempt: Attempt, prefill: Member, reply: Reply) -> Any:
    """Return the KV handle in a prefill engine's answer, None without one."""
    try:
        handle = bodies.handle_of(reply.body)
    except bodies.BadBody as error:
        raise EngineFaultError(prefill, str(error), Reply(HTTPStatus.BAD_GATEWAY, b"")) from error
    if not handle:
        attempt.count_without_kv()
    return handle
