"""HTTP questions to processes of this node, all at once, each with its deadline, past every proxy."""

from __future__ import annotations

import json
import re
import threading
import time

from . import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Call


LONG = 4 << 20
"""Bytes of an answer that are searched: the metrics of one engine are 100 KB and more."""


def answer(call: Call) -> dict[str, Any]:
    """The verb ``probe``: all requests at once, each result with its ``key``."""
    requests = call.get("requests", [])
    answers = ask_all(requests)
    return {"results": [{"key": r.get("key"), **answers[place]} for place, r in enumerate(requests)]}


def ask_all(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``{url, method, body, headers, timeout}`` → ``{status, body, error, seconds}``, in order.

    ``status`` is None and ``error`` one sentence where no answer came in time. With ``grep``, a regular
    expression, the body is only the lines in which it is found.
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
    body, headers = _body(request)
    method, deadline = request.get("method") or "GET", time.monotonic() + timeout(request)
    wanted = request.get("grep")
    keep = LONG if wanted else http.BODY
    status, said = http.exchange(request["url"], method, headers, body, deadline, keep=keep)
    text = said.decode("utf-8", "replace")
    return {"status": status, "body": _found(wanted, text) if wanted else text, "error": ""}


def _found(wanted: str, text: str) -> str:
    pattern = re.compile(wanted)
    return "\n".join(line for line in text.splitlines() if pattern.search(line))[: http.BODY]


def _body(request: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    body, headers = request.get("body"), dict(request.get("headers") or {})
    if body is None:
        return None, headers
    if not isinstance(body, str):
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    return body.encode(), headers


def names_model(body: str, model: str) -> bool:
    """Whether an answer of /v1/models lists ``model``."""
    try:
        return any(entry.get("id") == model for entry in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
