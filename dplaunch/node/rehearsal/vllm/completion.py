"""A request for a completion, checked as vLLM does, and the ways in which it can fail."""

from __future__ import annotations

import time

from ..answers import BadPromptError, Prompt, chat_prompt, completion_prompts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shapes import Shape


class RefusalError(Exception):
    """An error answer in vLLM's form."""

    def __init__(
        self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param


class GenerationError(RefusalError):
    """The request failed in the engine: a stream has its head by then, and the error as an event."""

    def __init__(self, message: str = "Internal server error") -> None:
        super().__init__(500, message, "InternalServerError")


class EngineDeadError(RefusalError):
    """The core is gone; the server answers this and ends."""

    def __init__(self) -> None:
        text = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        super().__init__(500, text, "InternalServerError")


class Completion:
    """A checked request body. ``tokens`` is how many to generate for each choice, ``reason`` why it stops."""

    def __init__(self, body: dict[str, object], shape: Shape, max_model_len: int) -> None:
        self.arrived = time.monotonic()
        self.shape = shape
        self.stream = body.get("stream") is True
        self.prompts = self._read_prompts(body)
        self.prompt_tokens = sum(prompt.tokens for prompt in self.prompts)
        self.words = [prompt.words for prompt in self.prompts]
        self.choices = _read_natural(body, "n") or 1
        limits = (
            ("max_completion_tokens", "max_output_tokens", "max_tokens") if shape.chat else ("max_tokens",)
        )
        asked = next((value for name in limits if (value := _read_natural(body, name)) is not None), None)
        longest = max(prompt.tokens for prompt in self.prompts)
        self.reason = "stop" if asked is None and shape.chat else "length"
        self.tokens = asked or (len(self.prompts[0].words) if shape.chat else 16)
        self.token_ids = body.get("return_token_ids") is True
        params = body.get("kv_transfer_params")
        self.params: dict[str, object] = params if isinstance(params, dict) else {}
        options = body.get("stream_options")
        if options and not self.stream:
            raise RefusalError(400, "Stream options can only be defined when `stream=True`.")
        self.usage = isinstance(options, dict) and options.get("include_usage") is True
        if longest + self.tokens > max_model_len:
            raise RefusalError(
                400,
                f"This model's maximum context length is {max_model_len} tokens. However, you requested "
                f"{longest + self.tokens} tokens ({longest} in the messages, {self.tokens} in the "
                "completion). Please reduce the length of the messages or completion.",
            )

    def _read_prompts(self, body: dict[str, object]) -> list[Prompt]:
        try:
            if self.shape.chat:
                return [chat_prompt(_messages(body))]
            return completion_prompts(body.get("prompt"))
        except BadPromptError as fault:
            raise RefusalError(400, str(fault)) from None


def _messages(body: dict[str, object]) -> object:
    """The messages of a chat; /v1/responses calls them input, and takes a text alone."""
    given = body.get("messages", body.get("input"))
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _read_natural(body: dict[str, object], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RefusalError(400, f"{name} must be at least 1, got {value}.", param=name)
    return value
