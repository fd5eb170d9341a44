"""Request bodies: read once, sized, and rewritten for each phase."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

UNKNOWN_OUTPUT = 256
MOST_OUTPUT = 1024
"""Few requests use the whole of a large max_tokens: counting all of it would drown the prompts."""

HANDLE = "kv_transfer_params"
USUAL_ONE_TOKEN = {"max_tokens": 1, "min_tokens": 1}
ONE_TOKEN = {"messages": {"max_tokens": 1}, "responses": {"max_output_tokens": 1, "store": False}}
"""Kind of request → what makes its answer one token; nothing of it is kept."""
LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
ASK_FOR_HANDLE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}

_RECOMPUTED = re.compile(rb'"stop_reason":\s*"recomputed"')


class BadBody(Exception):  # noqa: N818 - what the client sent
    """The body is not a JSON object; the text is for the client."""


def _codec() -> tuple[Callable[[Any], Any], Callable[[Any], bytes]]:
    """Loads and dumps of orjson, many times faster on long prompts; of json where it is missing."""
    if importlib.util.find_spec("orjson") is None:
        return json.loads, lambda value: json.dumps(value).encode()
    orjson = importlib.import_module("orjson")
    return orjson.loads, orjson.dumps


loads, dumps = _codec()


@dataclass(frozen=True)
class Body:
    """A body without the client's own KV handle: only an engine may name blocks to pull."""

    raw: bytes
    fields: dict[str, Any]
    """Empty when the body is not a JSON object: only a completion has to be one."""

    @property
    def prompt_tokens(self) -> int:
        """Estimate: token ids where given, else four bytes a token."""
        prompt = self.fields.get("prompt")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            return len(prompt)
        return len(self.raw) // 4 + 1

    @property
    def output_tokens(self) -> int:
        """Estimate of what a decode engine will write."""
        limit = next((self.fields[name] for name in LIMITS if self.fields.get(name) is not None), None)
        return min(max(limit, 1), MOST_OUTPUT) if isinstance(limit, int) else UNKNOWN_OUTPUT

    @property
    def sequences(self) -> int:
        """How many answers the engine will write: prompts × choices."""
        prompt, choices = self.fields.get("prompt"), self.fields.get("n")
        prompts = (
            prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]
        )
        return len(prompts) * (choices if isinstance(choices, int) else 1)

    @property
    def continues(self) -> bool:
        """Of /v1/responses: it needs, or leaves, an answer that one engine keeps."""
        return bool(self.fields.get("previous_response_id") or self.fields.get("background"))

    def for_prefill(self, kind: str, handle: Any = ASK_FOR_HANDLE) -> bytes:
        """One token, no stream, and where to push the KV: nowhere yet, but it will be asked for."""
        fields = {**self.fields, HANDLE: handle, "stream": False, **ONE_TOKEN.get(kind, USUAL_ONE_TOKEN)}
        if "max_completion_tokens" in fields:
            fields["max_completion_tokens"] = 1
        fields.pop("stream_options", None)
        return _write(fields)

    def for_decode(self, handle: Any) -> bytes:
        """The client's body with the prefill engine's handle, passed on whole; without one, unchanged."""
        return _write({**self.fields, HANDLE: handle}) if handle else self.raw

    def for_decode_first(self, url: str) -> bytes:
        """The client's body with the URL at which the decode engine asks for the prefill."""
        handle = {"do_remote_prefill": True, "do_remote_decode": False, "metaserver": url}
        return _write({**self.fields, HANDLE: handle})


def _write(fields: dict[str, Any]) -> bytes:
    try:
        return dumps(fields)
    except (ValueError, TypeError, RecursionError) as error:  # what can be read is not always writable
        raise BadBody(f"the body cannot be written again as JSON ({error})") from None


def read(raw: bytes) -> Body:
    """The body of a completion; raises ``BadBody`` unless it is a JSON object that can be rewritten."""
    try:
        fields = loads(raw)
        if not isinstance(fields, dict):
            raise BadBody("the body must be a JSON object")
    except (ValueError, RecursionError) as error:
        raise BadBody(f"the body is not JSON that can be read ({error})") from None
    own = _without_handle(fields)
    return Body(raw, fields) if own is fields else Body(_write(own), own)


def _without_handle(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` itself, or a copy without a KV handle in it or in a map below: engines look there too."""
    inner = {k: _without(more) for k, more in fields.items() if isinstance(more, dict) and HANDLE in more}
    if HANDLE not in fields and not inner:
        return fields
    return {**_without(fields), **inner}


def _without(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != HANDLE}


def read_any(raw: bytes, content_type: str) -> Body:
    """The body of any other request: a form is passed on as it is, and anything else must be JSON.

    An engine may read as JSON what we cannot (UTF-16, NaN): with it a KV handle would reach the engine.
    """
    if not raw or content_type.startswith(FORMS):
        return Body(raw, {})
    return read(raw)


def handle_of(answer: bytes) -> Any:
    """The KV handle in a prefill engine's answer, None without one; raises ``BadBody``."""
    return read_answer(answer).get(HANDLE)


def read_answer(answer: bytes) -> dict[str, Any]:
    """An engine's JSON answer; raises ``BadBody`` when it is none."""
    try:
        fields = loads(answer)
    except (ValueError, RecursionError) as error:
        raise BadBody(f"the answer is not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise BadBody("the answer is not a JSON object")
    return fields


def recomputed(answer: bytes) -> bool:
    """The engine gave the request up under memory pressure and wants both phases run again.

    Text cannot look like it: inside a JSON string the quotes are escaped.
    """
    return b'"recomputed"' in answer and _RECOMPUTED.search(answer) is not None
