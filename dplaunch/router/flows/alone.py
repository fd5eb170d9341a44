"""One engine does all of it."""

from __future__ import annotations

from ..attempt import Attempt


async def run(attempt: Attempt) -> None:
    """Ask one engine of the role that writes answers."""
    await _ask(attempt, attempt.answering)


async def run_first(attempt: Attempt) -> None:
    """Ask one engine of the role that reads prompts: its tokens can be counted without holding up answers."""
    await _ask(attempt, attempt.reading)


async def _ask(attempt: Attempt, role: str) -> None:
    member = attempt.pick(role)
    with attempt.lease_answer(member):
        async with attempt.ask(member, attempt.request.body.raw) as answer:
            await attempt.relay(answer, first_byte=lambda: None)
