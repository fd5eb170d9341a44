"""The splitwise scheduler: ranks report their load in a hash of Redis, and take requests from lists there."""

from __future__ import annotations

import json
import os
import threading
import time

from .resp import Redis, RedisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .log import Log
    from .settings import Settings

REPORT_EVERY = 0.5
EXPIRES_AFTER = 3.0
"""Seconds after which a report counts no more, by the reader's own clock."""
LOOK_EVERY = 0.02
LOOK_FOR_RANKS_EVERY = 1.0
PATIENCE = 30.0
"""Seconds that a request may wait for its answer."""
FILE = "scheduler.log"


class ExpiredError(Exception):
    """A request got no answer in time."""


class Scheduler:
    """Ranks ``0`` to ``settings.dp`` of one server. Raises RedisError where Redis is not there.

    ``silent``: ranks that do not report, a fault.
    """

    def __init__(self, settings: Settings, log: Log, silent: frozenset[int]) -> None:
        self._settings = settings
        self._log = log
        self._silent = silent
        self._key = f"{settings.topic}.cluster"
        self._id = os.urandom(16).hex()
        self._redis = self._connect()
        version = self._redis.do("INFO", "server").decode().partition("redis_version:")[2].split()[0]
        log.file(FILE, "splitwise_scheduler.py[line:90]", f"Redis version is {version}")

    def _connect(self) -> Redis:
        return Redis(self._settings.redis_host, self._settings.redis_port, self._settings.redis_password)

    def start(self) -> None:
        """Report, and take requests, from now on."""
        text = f"Scheduler Start With: role:{self._settings.role}, host:{self._settings.address}"
        self._log.file(FILE, "splitwise_scheduler.py[line:110]", text)
        for rank in range(self._settings.dp):
            if rank not in self._silent:
                threading.Thread(target=self._run, args=(f"{self._id}_{rank}",), daemon=True).start()

    def compute(self, words: list[str]) -> list[str]:
        """The words of an answer, computed by whoever has the least to do."""
        request = os.urandom(8).hex()
        deadline = time.monotonic() + PATIENCE
        chosen = self._choose()
        while not chosen:
            if time.monotonic() > deadline:
                raise ExpiredError(f"Req({request}) is expired({PATIENCE:g})")
            time.sleep(LOOK_FOR_RANKS_EVERY)
            chosen = self._choose()
        job = {"words": words, "then": chosen[1:], "reply": f"result_{request}"}
        self._redis.do("LPUSH", f"ReqQ_{chosen[0]}", json.dumps(job))
        while time.monotonic() < deadline:
            reply = self._redis.do("RPOP", job["reply"])
            if reply is not None:
                return [str(word) for word in json.loads(reply)]
            time.sleep(LOOK_EVERY)
        raise ExpiredError(f"Req({request}) is expired({PATIENCE:g})")

    def _choose(self) -> list[str]:
        """Who computes a request: one rank that does both, or prefill and decode; empty: none yet."""
        roles: dict[str, list[tuple[int, str]]] = {"mixed": [], "prefill": [], "decode": []}
        found = self._redis.do("HGETALL", self._key) or []
        for name, value in zip(found[::2], found[1::2]):
            entry = json.loads(value)
            if time.time() - entry["ts"] <= EXPIRES_AFTER:
                roles[entry["role"]].append((entry["load"], name.decode()))
        if roles["mixed"]:
            return [min(roles["mixed"])[1]]
        if not (roles["prefill"] and roles["decode"]):
            counts = ", ".join(f"{role}:{len(some)}" for role, some in roles.items())
            self._log.file(FILE, "splitwise_scheduler.py[line:414]", f"No Schedule Nodes: {counts}", "ERROR")
            return []
        return [min(roles["prefill"])[1], min(roles["decode"])[1]]

    def _run(self, name: str) -> None:
        """One rank, for ever: what it could not do it tries again on a new connection."""
        while True:
            try:
                self._serve(self._connect(), name)
            except RedisError as fault:
                place = "splitwise_scheduler.py[line:600]"
                self._log.file(FILE, place, f"InferScheduler error: {fault}", "ERROR")
            time.sleep(REPORT_EVERY)

    def _serve(self, redis: Redis, name: str) -> None:
        reported = 0.0
        while True:
            if time.monotonic() - reported > REPORT_EVERY:
                redis.do("HSET", self._key, name, json.dumps(self._report()))
                reported = time.monotonic()
            taken = redis.do("RPOP", f"ReqQ_{name}")
            if taken is None:
                time.sleep(LOOK_EVERY)
            else:
                _pass_on(redis, json.loads(taken))

    def _report(self) -> dict[str, object]:
        settings = self._settings
        own = {"ts": time.time(), "role": settings.role, "load": 0, "host": settings.address}
        return {**own, "disaggregated": {"transfer_protocol": settings.protocol.split(",")}}


def _pass_on(redis: Redis, job: dict[str, Any]) -> None:
    """Prefill gives a request to the decode rank; who is last answers."""
    if job["then"]:
        first, *others = job["then"]
        redis.do("LPUSH", f"ReqQ_{first}", json.dumps({**job, "then": others}))
        return
    redis.do("LPUSH", job["reply"], json.dumps(job["words"]))
    redis.do("EXPIRE", job["reply"], 60)
