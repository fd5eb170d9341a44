"""Requests to engines, and the ways they fail.

::

    EngineError
    ├── EngineLostError    no connection, or it broke: the engine counts as dead
    ├── EngineFaultError   a server error (5xx) or an answer that makes no sense: it lives
    └── EngineLateError    the request's whole time is used up

Each carries the member it happened on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import yarl

from .state import Member

KEEP_ALIVE = 4.0
"""Engines close idle connections after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): we must be first."""

PASSED_BACK = ("Content-Type", "Content-Encoding", "Cache-Control", "Retry-After")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class EngineError(Exception):
    """``member`` did not answer as it should."""

    def __init__(self, member: Member, text: str) -> None:
        super().__init__(text)
        self.member = member


class EngineLostError(EngineError):
    """No connection, or it broke."""


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
    body: bytes
    headers: Mapping[str, str]
    deadline: float | None = None


def session() -> aiohttp.ClientSession:
    """A session whose answers stay as they come, compressed or not. Call it on the loop."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=60)
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
    )


async def send(
    session: aiohttp.ClientSession, member: Member, message: Message, connect_timeout: float
) -> aiohttp.ClientResponse:
    """The answer's head; whoever gets it must ``close()`` it. A 5xx is raised, read whole."""
    left = None if message.deadline is None else max(message.deadline - time.monotonic(), 0.001)
    try:
        answer = await session.request(
            message.method,
            yarl.URL(member.entry.url + message.target, encoded=True),
            data=message.body or None,
            headers=message.headers,
            timeout=aiohttp.ClientTimeout(total=left, sock_connect=connect_timeout),
            allow_redirects=False,
        )
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        raise _failure(member, error) from error
    if answer.status < 500:  # noqa: PLR2004 - HTTP
        return answer
    reply = await read_whole(member, answer)
    raise EngineFaultError(member, f"status {reply.status}", reply)


async def read_some(member: Member, answer: aiohttp.ClientResponse) -> bytes:
    """What has come of the body, as it came; empty at its end."""
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        raise _failure(member, error) from error


async def read_whole(member: Member, answer: aiohttp.ClientResponse) -> Reply:
    """All of the answer; it is closed."""
    try:
        return Reply(answer.status, await answer.read(), passed_back(answer))
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        raise _failure(member, error) from error
    finally:
        answer.close()


def passed_back(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers of an engine that concern the client."""
    return {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}


def _failure(member: Member, error: Exception) -> EngineError:
    # A connect timeout is both kinds: there the engine's machine is silent, not the request late.
    if isinstance(error, asyncio.TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return EngineLateError(member, "no answer in the time the request has")
    if isinstance(error, aiohttp.InvalidURL):
        return EngineFaultError(member, "its address is no URL", Reply(502, b""))
    return EngineLostError(member, str(error) or type(error).__name__)
