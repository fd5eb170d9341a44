"""HTTP questions to processes of this node, all at once, each with its deadline, past every proxy."""

from __future__ import annotations

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Call

BODY = 64 << 10
"""Bytes of an answer that are kept."""


def answer(call: Call) -> dict[str, Any]:
    """The verb ``probe``: all requests at once, each result with its ``key``."""
    requests = call.get("requests", [])
    answers = ask_all(requests)
    return {"results": [{"key": r.get("key"), **answers[place]} for place, r in enumerate(requests)]}


def ask_all(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``{url, method, body, headers, timeout}`` → ``{status, body, error, seconds}``, in order.

    ``status`` is None and ``error`` one sentence where no answer came in time.
    """
    answers: list[dict[str, Any] | None] = [None] * len(requests)
    threads = []
    for place, request in enumerate(requests):
        thread = threading.Thread(target=_fill, args=(answers, place, request), daemon=True)
        thread.start()
        threads.append((thread, time.monotonic() + timeout(request)))
    for thread, deadline in threads:
        thread.join(max(0.0, deadline - time.monotonic()) + 0.2)
    return [answer or _silent(requests[place]) for place, answer in enumerate(list(answers))]


def timeout(request: dict[str, Any]) -> float:
    """Seconds this request may take."""
    return float(request.get("timeout") or 10.0)


def _silent(request: dict[str, Any]) -> dict[str, Any]:
    seconds = timeout(request)
    return {"status": None, "body": "", "error": f"no whole answer within {seconds:g} s", "seconds": seconds}


def _fill(answers: list[dict[str, Any] | None], place: int, request: dict[str, Any]) -> None:
    began = time.monotonic()
    answer = _ask(request)
    answer["seconds"] = round(time.monotonic() - began, 4)
    answers[place] = answer


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _exchange(request)
    except TimeoutError:
        return _silent(request)
    except Exception as error:
        if type(error).__name__ == "timeout":  # socket.timeout is a TimeoutError only from 3.10 on
            return _silent(request)
        return {"status": None, "body": "", "error": f"{request.get('url')}: {error}"}


def _exchange(request: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + timeout(request)
    url = urlsplit(request["url"])
    if url.scheme != "http" or not url.hostname:
        return {"status": None, "body": "", "error": f"{request['url']} is no http:// address"}
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout(request))
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        body, headers = _body(request)
        connection.request(request.get("method") or "GET", path, body=body, headers=headers)
        response = connection.getresponse()
        text = _read(response, deadline).decode("utf-8", "replace")
        return {"status": response.status, "body": text, "error": ""}
    finally:
        connection.close()


def _body(request: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    body, headers = request.get("body"), dict(request.get("headers") or {})
    if body is None:
        return None, headers
    if not isinstance(body, str):
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    return body.encode(), headers


def _read(response: Any, deadline: float) -> bytes:
    data = b""
    while len(data) < BODY and time.monotonic() < deadline:
        piece: bytes = response.read1(BODY - len(data))
        if not piece:
            return data
        data += piece
    if len(data) < BODY:
        raise TimeoutError
    return data


def names_model(body: str, model: str) -> bool:
    """Whether an answer of /v1/models lists ``model``."""
    try:
        return any(entry.get("id") == model for entry in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
