"""The JSON that vLLM's OpenAI server answers with."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    Json = dict[str, object]

COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"


def error(release: tuple[int, ...], code: int, kind: str, message: str, param: str | None = None) -> Json:
    """An error body: nested from 0.10.1 on, flat before."""
    inner: Json = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": inner} if release >= (0, 10, 1) else {"object": "error", **inner}


def models(served: list[str], root: str, created: int, max_len: int) -> Json:
    """/v1/models: every served name."""
    common = {"object": "model", "created": created, "owned_by": "vllm", "root": root, "parent": None}
    more = {"max_model_len": max_len, "permission": []}
    return {"object": "list", "data": [{"id": name, **common, **more} for name in served]}


def usage(prompt: int, completion: int) -> Json:
    """Token counts of one request."""
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": None,
    }


def add_token_ids(body: Json, ids: list[list[int]]) -> None:
    """What ``return_token_ids`` asks for: the generated tokens of each choice."""
    choices = body.get("choices")
    if isinstance(choices, list):
        for choice, tokens in zip(choices, ids):
            choice["token_ids"] = tokens


class Shape:
    """The frame of one request's answers: ids, model and the form of its endpoint."""

    def __init__(self, path: str, request_id: str, model: str) -> None:
        self.path = path
        self.chat = path != COMPLETION
        prefix = {COMPLETION: "cmpl-", CHAT: "chatcmpl-"}.get(path, f"{path.rpartition('/')[2][:3]}_")
        self.id = f"{prefix}{request_id}"
        self.model = model
        self.created = int(time.time())

    def whole(self, texts: list[str], reason: str, counts: Json, params: Json | None) -> Json:
        """The answer of a request without stream."""
        make = self._message if self.chat else self._text
        choices = [make(index, text, reason) for index, text in enumerate(texts)]
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._frame(kind, choices), "usage": counts, "kv_transfer_params": params}

    def chunk(self, index: int, text: str, reason: str | None) -> list[Json]:
        """One token of a stream."""
        if not self.chat:
            return [self._frame("text_completion", [self._text(index, text, reason)])]
        delta: Json = {"content": text}
        return [self._frame("chat.completion.chunk", [_delta(index, delta, reason)])]

    def opening(self, index: int) -> list[Json]:
        """What a chat stream begins with."""
        delta: Json = {"role": "assistant", "content": ""}
        return [self._frame("chat.completion.chunk", [_delta(index, delta, None)])]

    def closing(self, counts: Json) -> Json:
        """The chunk with the usage, which ends a stream that asked for it."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._frame(kind, []), "usage": counts}

    def _frame(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _text(self, index: int, text: str, reason: str | None) -> Json:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": reason, "stop_reason": None}

    def _message(self, index: int, text: str, reason: str) -> Json:
        message = {"role": "assistant", "content": text, "tool_calls": []}
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": reason,
            "stop_reason": None,
        }


def _delta(index: int, delta: Json, reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
