"""The JSON of vLLM's Anthropic server (/v1/messages) and of its Responses API (/v1/responses)."""

from __future__ import annotations

from .shapes import Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    Json = dict[str, object]

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"


class Messages(Shape):
    """Answers of /v1/messages; its streams are named events."""

    def whole(self, texts: list[str], reason: str, counts: Json, params: Json | None) -> Json:
        """The answer of a request without stream."""
        content = [{"type": "text", "text": text} for text in texts]
        ending = {"stop_reason": _stop(reason), "usage": _usage(counts), "kv_transfer_params": params}
        return {**self._envelope(content), **ending}

    def chunk(self, index: int, text: str, reason: str | None) -> list[Json]:
        """One token of a stream, and what ends the stream after its last one."""
        delta = {"type": "text_delta", "text": text}
        events: list[Json] = [{"type": "content_block_delta", "index": index, "delta": delta}]
        if reason:
            events += [
                {"type": "content_block_stop", "index": index},
                {"type": "message_delta", "delta": {"stop_reason": _stop(reason)}, "usage": {}},
                {"type": "message_stop"},
            ]
        return events

    def opening(self, index: int) -> list[Json]:
        """What a stream begins with."""
        block = {"type": "text", "text": ""}
        return [
            {"type": "message_start", "message": self._envelope([])},
            {"type": "content_block_start", "index": index, "content_block": block},
        ]

    def _envelope(self, content: object) -> Json:
        frame = {"id": self.id, "type": "message", "role": "assistant", "model": self.model}
        return {**frame, "content": content, "stop_sequence": None}


class Responses(Shape):
    """Answers of /v1/responses; its streams are named events."""

    def whole(self, texts: list[str], reason: str, counts: Json, params: Json | None) -> Json:
        """The answer of a request without stream."""
        del reason
        return {**self._response(texts, "completed"), "usage": _usage(counts), "kv_transfer_params": params}

    def chunk(self, index: int, text: str, reason: str | None) -> list[Json]:
        """One token of a stream, and what ends the stream after its last one."""
        events: list[Json] = [{"type": "response.output_text.delta", "output_index": index, "delta": text}]
        if reason:
            events.append({"type": "response.completed", "response": self._response([], "completed")})
        return events

    def opening(self, index: int) -> list[Json]:
        """What a stream begins with."""
        del index
        return [{"type": "response.created", "response": self._response([], "in_progress")}]

    def _response(self, texts: list[str], status: str) -> Json:
        content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
        message = {"type": "message", "role": "assistant", "status": status, "content": content}
        frame = {"id": self.id, "object": "response", "created_at": self.created, "model": self.model}
        return {**frame, "status": status, "output": [message]}


def _stop(reason: str) -> str:
    return "max_tokens" if reason == "length" else "end_turn"


def _usage(counts: Json) -> Json:
    return {"input_tokens": counts["prompt_tokens"], "output_tokens": counts["completion_tokens"]}
