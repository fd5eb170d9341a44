"""HTTP questions to processes of this node, all at once, each with its deadline."""

from __future__ import annotations

import time

from . import http
from .plain import dumps, loads

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
    began = time.monotonic()
    said = http.all_of([_talk(r) for r in requests], [began + timeout(r) for r in requests])
    return [one or _silent(requests[place]) for place, one in enumerate(said)]


def timeout(request: dict[str, Any]) -> float:
    """Seconds this request may take."""
    return float(request.get("timeout") or 10.0)


def _silent(request: dict[str, Any]) -> dict[str, Any]:
    seconds = timeout(request)
    return {"status": None, "body": "", "error": f"no whole answer within {seconds:g} s", "seconds": seconds}


def _talk(request: dict[str, Any]) -> http.Steps[dict[str, Any]]:
    began = time.monotonic()
    try:
        answer = yield from _exchange(request)
    except Exception as error:
        answer = {"status": None, "body": "", "error": f"{request.get('url')}: {error}"}
    return {**answer, "seconds": round(time.monotonic() - began, 4)}


def _exchange(request: dict[str, Any]) -> http.Steps[dict[str, Any]]:
    body, headers = _body(request)
    method, wanted = request.get("method") or "GET", request.get("grep")
    keep = LONG if wanted else http.BODY
    status, said = yield from http.talk(request["url"], method, headers, body, keep=keep)
    text = said.decode("utf-8", "replace")
    return {"status": status, "body": _found(wanted, text) if wanted else text, "error": ""}


def _found(wanted: str, text: str) -> str:
    import re  # noqa: PLC0415 - 8 ms, only where it is wanted

    pattern = re.compile(wanted)
    return "\n".join(line for line in text.splitlines() if pattern.search(line))[: http.BODY]


def _body(request: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    body, headers = request.get("body"), dict(request.get("headers") or {})
    if body is None:
        return None, headers
    if not isinstance(body, str):
        headers.setdefault("Content-Type", "application/json")
        body = dumps(body)
    return body.encode(), headers


def names_model(body: str, model: str) -> bool:
    """Whether an answer of /v1/models lists ``model``."""
    try:
        return any(entry.get("id") == model for entry in loads(body)["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
