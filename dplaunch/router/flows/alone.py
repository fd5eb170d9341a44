"""One engine does all of it."""

from __future__ import annotations

from ..attempt import Attempt


async def run(attempt: Attempt) -> None:
    """Ask one engine of the role that writes answers."""
    member = attempt.pick(attempt.answering)
    with attempt.lease_answer(member):
        async with attempt.ask(member, attempt.request.body.raw) as answer:
            await attempt.relay(answer, first_byte=lambda: None)
