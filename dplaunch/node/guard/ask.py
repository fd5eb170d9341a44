"""HTTP requests to processes of this node: many at once, each with a hard deadline, past every proxy."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import queue
import re
import socket
import threading
import time
import urllib.parse

from . import redis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Call

AT_ONCE = 16
"""Requests that are under way at a time; the others wait for their turn."""
BODY = 64 << 10
"""Bytes of a body that are returned."""
LONG = 4 << 20
"""Bytes of a body that are searched: the metrics of one engine are 100 KB and more."""
TIMEOUT = 10.0
"""Seconds that a request may take unless it names another time."""
_SLACK = 1.0
"""Seconds that a socket waits beyond the deadline, so that the deadline is always noticed first."""


def answer(call: Call) -> dict[str, Any]:
    """The verb ``probe``: all requests at once, each result with its ``key``."""
    requests = call.get("requests", [])
    answers = ask_all(requests)
    return {"results": [{"key": r.get("key"), **answers[place]} for place, r in enumerate(requests)]}


def ask_all(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``{url, method, body, headers, timeout, grep}`` → ``{status, body, error, seconds}``, in order.

    ``timeout`` covers connecting, headers and body, and counts from the moment the request is sent.
    ``status`` is None and ``error`` one sentence where no complete response came in time. With ``grep``, a
    regular expression, ``body`` is only the lines in which it is found. Redirects are not followed.
    """
    answers: list[dict[str, Any]] = [{} for _ in requests]
    waiting = collections.deque(enumerate(requests))
    running: dict[int, _Exchange] = {}
    done: queue.SimpleQueue[_Exchange] = queue.SimpleQueue()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            place, request = waiting.popleft()
            running[place] = _Exchange(place, request, done)
        nearest = min(one.deadline for one in running.values())
        with contextlib.suppress(queue.Empty):
            finished = done.get(timeout=max(0.0, nearest - time.monotonic()))
            if running.pop(finished.place, None):
                answers[finished.place] = finished.answer
        for place, one in list(running.items()):
            if one.deadline <= time.monotonic():
                answers[place] = one.give_up()
                del running[place]
    return answers


class _Exchange:
    """One request in a thread of its own: then its deadline holds whatever it is waiting for."""

    def __init__(self, place: int, request: dict[str, Any], done: queue.SimpleQueue[_Exchange]) -> None:
        self.place = place
        self.answer: dict[str, Any] = {}
        self._request = request
        self._timeout = float(request.get("timeout") or TIMEOUT)
        self._began = time.monotonic()
        self.deadline = self._began + self._timeout
        self._socket: socket.socket | None = None
        threading.Thread(target=self._run, args=(done,), daemon=True).start()

    def give_up(self) -> dict[str, Any]:
        """The result of a request whose time is up; its thread ends, after a name lookup at the latest."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        error = f"no complete response within {self._timeout:g} s"
        return {"status": None, "body": "", "error": error, "seconds": self._timeout}

    def _run(self, done: queue.SimpleQueue[_Exchange]) -> None:
        try:
            status, body = self._exchange()
            answer = {"status": status, "body": body, "error": ""}
        except http.client.HTTPException as error:
            text = f"{self._request.get('url')}: not a complete HTTP response ({error!r})"
            answer = {"status": None, "body": "", "error": text}
        except Exception as error:
            answer = {"status": None, "body": "", "error": f"{self._request.get('url')}: {error}"}
        self.answer = {**answer, "seconds": round(time.monotonic() - self._began, 4)}
        if not self._is_late():  # else it is given up
            done.put(self)

    def _is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def _exchange(self) -> tuple[int, str]:
        host, port, target = _split(self._request["url"])
        if self._request["url"].startswith("redis:"):
            return 200, redis.ask((host, port), self._timeout + _SLACK, self._request)
        if self._request["url"].startswith("tcp:"):
            socket.create_connection((host, port), self._timeout + _SLACK).close()
            return 200, ""
        body, headers = _body(self._request)
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout + _SLACK)
        with contextlib.closing(connection):
            connection.connect()
            self._socket = connection.sock
            if self._is_late():
                raise TimeoutError
            connection.request(self._request.get("method") or "GET", target, body, headers)
            with connection.getresponse() as response:
                return response.status, _read(response, self._request.get("grep"))


def _split(url: str) -> tuple[str, int, str]:
    """Host, port, and path with query. Raises ValueError for an address of another kind."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "tcp", "redis") or not parts.hostname or url.split() != [url]:
        raise ValueError("this is neither an http:// nor a tcp:// nor a redis:// address")
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return parts.hostname, parts.port or http.client.HTTP_PORT, target


def _body(request: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    body, headers = request.get("body"), {"Connection": "close", **(request.get("headers") or {})}
    if body is None:
        return None, headers
    if not isinstance(body, str):
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    return body.encode(), headers


def _read(response: http.client.HTTPResponse, grep: str | None) -> str:
    """Raises HTTPException where the connection ended within the body."""
    keep = LONG if grep else BODY
    data = response.read(keep)
    if response.length and len(data) < keep:
        raise http.client.IncompleteRead(data, response.length)
    text = data.decode("utf-8", "replace")
    if not grep:
        return text
    wanted = re.compile(grep)
    return "\n".join(line for line in text.splitlines() if wanted.search(line))[:BODY]


def names_model(body: str, model: str) -> bool:
    """Whether a response of /v1/models lists ``model``."""
    try:
        return any(entry.get("id") == model for entry in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
