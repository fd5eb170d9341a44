"""What decode engines post back while their request is open: where the prompt's KV has to go.

The URL that they are given ends in a random id, because they show no key. It begins with the worker that
waits, by its router's folder and its number: the kernel hands a connection to any worker of the port, also of
a router that has taken over meanwhile, which passes the callback on.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from . import body as bodies
from . import http1
from .address import own_address
from .engines import EngineLostError
from .link import BrokenError, ExhaustedError, Pool, TooLateError
from .state import Member

PATH = "/v1/metaserver"
MOST = 4 * 1024 * 1024
"""Bytes of a callback: a million tokens have some hundred thousand block numbers."""
PASS_ON_WITHIN = 5.0
"""Seconds."""
FOLDERS = "dprouter."
"""How the names of routers' folders begin, side by side in the folder for temporary files."""
_PLACE = re.compile(r"(\w[\w.]*)\.(\d+)", re.ASCII)
WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Callback:
    """A decode request that waits for its engine: ``params`` become the prefill request's."""

    url: str
    params: asyncio.Future[dict[str, Any]]


class Callbacks:
    """This worker's requests that wait. ``bound`` is the host and port that the router listens on."""

    def __init__(self, bound: tuple[str, int], pool: Pool, index: int = 0, folder: str = "") -> None:
        self._host, self._port = bound
        self._pool = pool
        self._folder = Path(folder)
        self._place = f"{self._folder.name}.{index}" if folder else str(index)
        self._waiting: dict[str, Callback] = {}
        self._seen_as: dict[str, str] = {}

    @property
    def socket(self) -> Path | None:
        """Where other workers pass callbacks on to; None where there are no others."""
        return self._socket_of(self._place)

    def _socket_of(self, place: str) -> Path | None:
        """Where the worker of a place takes callbacks; None where that is no place of a worker."""
        found = _PLACE.fullmatch(place)
        return self._folder.with_name(found[1]) / f"{found[2]}.sock" if found and self._folder.name else None

    @asynccontextmanager
    async def expect(self, engine: Member) -> AsyncIterator[Callback]:
        """Wait for ``engine`` to call back, as long as the block runs. Raises ``EngineLostError``."""
        own_id = f"{self._place}-{secrets.token_hex(16)}"
        try:
            host = await self._address_for(engine.address[0])
        except OSError as error:
            raise EngineLostError(engine, f"there is no route to it ({error})") from error
        literal = f"[{host}]" if ":" in host else host
        params = asyncio.get_running_loop().create_future()
        callback = Callback(f"http://{literal}:{self._port}{PATH}?id={own_id}", params)
        self._waiting[own_id] = callback
        try:
            yield callback
        finally:
            del self._waiting[own_id]

    async def _address_for(self, engine: str) -> str:
        """Where the host reaches the router: where it listens, or (everywhere) where it asks from."""
        if self._host not in WILDCARDS:
            return self._host
        if engine not in self._seen_as:
            loop = asyncio.get_running_loop()
            self._seen_as[engine] = await loop.run_in_executor(None, own_address, engine)
        return self._seen_as[engine]

    async def receive(self, target: str, own_id: str, raw: bytes) -> HTTPStatus:
        """Take what an engine posted to ``target``. Return the status of the answer.

        An engine whose connection broke posts again: what came first counts.
        """
        place, _, _ = own_id.partition("-")
        other = self._socket_of(place) if place != self._place else None
        if other is not None:
            return await self._pass_on(str(other), target, raw)
        callback = self._waiting.get(own_id)
        if callback is None:
            return HTTPStatus.NOT_FOUND
        try:
            params = bodies.read_answer(raw)
        except bodies.BadBody:
            return HTTPStatus.BAD_REQUEST
        if not callback.params.done():
            callback.params.set_result(params)
        return HTTPStatus.OK

    async def _pass_on(self, address: str, target: str, raw: bytes) -> HTTPStatus:
        deadline = time.monotonic() + PASS_ON_WITHIN
        try:
            link = await self._pool.take(address, deadline)
        except (BrokenError, TooLateError):
            return HTTPStatus.NOT_FOUND
        except ExhaustedError:
            return HTTPStatus.SERVICE_UNAVAILABLE
        try:
            link.send("POST", http1.request("POST", target, {"Host": "worker"}, raw), deadline)
            return HTTPStatus((await link.head()).status)
        except (BrokenError, TooLateError):
            return HTTPStatus.BAD_GATEWAY
        finally:
            self._pool.give(address, link)
