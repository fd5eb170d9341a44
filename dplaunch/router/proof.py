"""The router's own proof: a completion through every engine of a group before clients reach it.

For groups that the members file leaves to the router (``proving``), for groups that were lost or stuck and
came back by themselves, and for engines that do not move although they say that they have requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence

from . import body as bodies
from .attempt import Unserved
from .client import Kept
from .engines import EngineError, Message
from .link import ExhaustedError
from .request import COMPLETIONS, Pair, Request
from .settings import Settings
from .state import TO_OPEN, Member, State
from .tries import Tries

log = logging.getLogger("dprouter")

WITHIN = 120.0
"""Seconds; the first request of a fresh engine may compile."""
COUNTED = "one two three four five six seven eight nine ten " * 15
"""More tokens than a block of KV holds (128), so that KV has to come from the prefill engine."""


class Prover:
    """One task per group, so that an engine which does not answer keeps no other group out.

    ``tries`` count apart: these are not requests of clients.
    """

    def __init__(self, settings: Settings, state: State, tries: Tries) -> None:
        self._settings = settings
        self._state = state
        self._tries = tries
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for ever for groups to prove, as often as engines are asked for their health."""
        try:
            while True:
                wanted = {**self._state.suspected(), **self._state.unproved()}
                for group, engines in wanted.items():
                    if group not in self._tasks:
                        self._tasks[group] = asyncio.create_task(self._prove(group, engines))
                await asyncio.sleep(self._settings.health_interval)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _prove(self, group: str, engines: Sequence[Member]) -> None:
        try:
            await asyncio.gather(*(self._ask(engine) for engine in engines))
            if group not in self._state.unproved():
                log.info("group %s is proved", group)
        finally:
            del self._tasks[group]

    async def _ask(self, engine: Member) -> None:
        """Ask for a completion through ``engine`` and a partner, and note why there is no answer."""
        client = Kept()
        try:
            await self._tries.once(self._request(self._pair(engine)), client)
        except Unserved:
            self._note(engine, "there is no engine of the other role to prove it with")
        except ExhaustedError as error:
            self._note(engine, f"the router has no room for a connection: {error}")
        except EngineError as error:
            self._note(engine, f"{error.member.entry.name} failed: {error}")
        else:
            if not engine.proved:
                self._note(engine, f"status {client.status}: {client.body[:200].decode(errors='replace')}")

    def _note(self, engine: Member, doubt: str) -> None:
        if doubt != engine.doubt:
            log.warning("%s is not proved: %s", engine.entry.name, doubt)
            engine.doubt = doubt

    def _pair(self, engine: Member) -> Pair:
        """Return the engine and partners that serve, or that are to be proved too. Raises ``Unserved``."""
        pair = {engine.entry.role: engine}
        for role in self._state.needed:
            if role not in pair:
                partner = self._state.choose(role) or self._state.choose(role, states=TO_OPEN)
                if partner is None:
                    raise Unserved
                pair[role] = partner
        return pair

    def _request(self, pair: Pair) -> Request:
        own_id = f"proof-{secrets.token_hex(8)}"
        # What an engine has cached is not handed over to it: each prompt is new from its beginning.
        fields = {"prompt": f"{own_id}: {COUNTED}", "max_tokens": 4, "temperature": 0}
        model = self._state.membership.model or self._settings.model
        raw = json.dumps({"model": model, **fields} if model else fields).encode()
        headers = {"Content-Type": "application/json", **self._settings.authorization}
        now = time.monotonic()
        message = Message("POST", COMPLETIONS, raw, headers, now + WITHIN)
        return Request(own_id, "completions", message, bodies.read(raw), now, pair)
