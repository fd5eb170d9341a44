"""Errors in the shape that the client's API has: Anthropic's for messages, OpenAI's for everything else."""

from __future__ import annotations

import json
from typing import Any

MESSAGES = "/v1/messages"
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Status → type, as Anthropic's documentation lists them; below 500 all others are the client's mistake."""
SERVER = 500


def describe(path: str, status: int, text: str, request_id: str) -> dict[str, Any]:
    """Return the body of an error that answers a request for ``path``."""
    if path == MESSAGES or path.startswith(MESSAGES + "/"):
        kind = KINDS.get(status, "invalid_request_error" if status < SERVER else "api_error")
        return {"type": "error", "error": {"type": kind, "message": text}, "request_id": request_id}
    kind = "invalid_request_error" if status < SERVER else "server_error"
    return {"error": {"message": text, "type": kind, "param": None, "code": status}}


def last_event(path: str, text: str, request_id: str) -> bytes:
    """Return what a stream that breaks off ends with; empty where the client's API has no such event.

    It may follow half an event, which the empty line before it ends.
    """
    if path != MESSAGES:
        return b""
    document = json.dumps(describe(path, SERVER, text, request_id))
    return f"\n\nevent: error\ndata: {document}\n\n".encode()
