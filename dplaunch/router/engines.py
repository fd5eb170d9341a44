"""Requests to engines, and the ways they fail.

::

    EngineError
    ├── EngineLostError    no connection, or it broke: the engine counts as dead
    ├── EngineStuckError   it lives, and does not answer anybody: its requests were given up
    ├── EngineFaultError   a server error (5xx) or an answer that makes no sense: it lives
    └── EngineLateError    the request's whole time is used up

Each carries the member it happened on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from . import http1
from .http1 import Head
from .link import BrokenError, Link, Pool, Sink, StuckError, TooLateError
from .state import Member

MOST_WHOLE = 64 << 20
"""Bytes of an answer that is needed as a whole."""
PASSED_BACK = ("Content-Type", "Content-Encoding", "Cache-Control", "Retry-After")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class EngineError(Exception):
    """``member`` did not answer as it should."""

    def __init__(self, member: Member, text: str, *, had_request: bool = False) -> None:
        super().__init__(text)
        self.member = member
        self.had_request = had_request
        """The engine ended or stopped when it had the whole request, which may be why."""


class EngineLostError(EngineError):
    """No connection, or it broke."""


class EngineStuckError(EngineError):
    """It lives, and does not answer anybody."""


class EngineLateError(EngineError):
    """The request's time is used up."""


class EngineFaultError(EngineError):
    """It answered, but with an error of its own; ``reply`` is what the client gets in the end."""

    def __init__(self, member: Member, text: str, reply: Reply) -> None:
        super().__init__(member, text)
        self.reply = reply


@dataclass(frozen=True)
class Message:
    """What to send: ``target`` is path and query, still encoded; ``deadline`` is monotonic or None."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline: float | None = None


class Answer:
    """An engine's answer whose head is there."""

    def __init__(self, member: Member, link: Link, head: Head) -> None:
        self.member = member
        self.head = head
        self._link = link

    async def read(self) -> bytes:
        """What has come of the body, as it came; empty at its end."""
        try:
            return await self._link.read()
        except (BrokenError, TooLateError) as error:
            raise _failure(self.member, error) from error

    async def pour(self, sink: Sink) -> None:
        """Hand on what comes without a task in between, until ``sink`` refuses a piece, or the end."""
        try:
            await self._link.pour(sink)
        except (BrokenError, TooLateError) as error:
            raise _failure(self.member, error) from error

    async def whole(self) -> Reply:
        """All of it. Raises ``EngineFaultError`` where that is more than ``MOST_WHOLE``."""
        body, complete = await self.beginning(MOST_WHOLE)
        if not complete:
            text = f"its answer is longer than {MOST_WHOLE} bytes"
            raise EngineFaultError(self.member, text, Reply(HTTPStatus.BAD_GATEWAY, b""))
        return Reply(self.head.status, body, self.passed_back())

    async def beginning(self, most: int) -> tuple[bytes, bool]:
        """Read until there are more than ``most`` bytes; True where the body ended before."""
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                return b"".join(pieces), False
        return b"".join(pieces), True

    def passed_back(self) -> dict[str, str]:
        """The headers that concern the client."""
        theirs = self.head.headers
        return {name: theirs[name.lower()] for name in PASSED_BACK if name.lower() in theirs}


@asynccontextmanager
async def asked(pool: Pool, member: Member, message: Message) -> AsyncIterator[Answer]:
    """The answer, as long as the block runs; an answer not read to its end is broken off there.

    A 5xx is raised as ``EngineFaultError``, read whole.
    """
    address = member.address
    headers = {"Host": f"{member.netloc}", **message.headers}
    try:
        link = await pool.take(address, message.deadline)
    except (BrokenError, TooLateError) as error:
        raise _failure(member, error, had_request=False) from error
    try:
        yield await _answered(member, link, message, headers)
    finally:
        pool.give(address, link)


async def _answered(member: Member, link: Link, message: Message, headers: Mapping[str, str]) -> Answer:
    try:
        raw = http1.request(message.method, message.target, headers, message.body)
        link.send(message.method, raw, message.deadline)
        answer = Answer(member, link, await link.head())
    except (BrokenError, TooLateError) as error:
        raise _failure(member, error) from error
    if answer.head.status < 500:  # noqa: PLR2004 - HTTP
        return answer
    reply = await answer.whole()
    raise EngineFaultError(member, f"status {reply.status}", reply)


def _failure(member: Member, error: Exception, *, had_request: bool = True) -> EngineError:
    if isinstance(error, TooLateError):
        return EngineLateError(member, "no whole answer in the time the request has")
    if isinstance(error, StuckError):
        return EngineStuckError(member, str(error), had_request=had_request)
    return EngineLostError(member, str(error), had_request=had_request)
