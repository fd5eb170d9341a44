"""A client's request as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from . import body as bodies
from .engines import Message
from .state import Member

COMPLETIONS = "/v1/completions"
PROMPTS = {
    COMPLETIONS: "completions",
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}
"""Requests with a prompt, which take the cluster's flow. vLLM 0.33 hands KV over for all of them."""
TOKENS = ("/tokenize", "/detokenize", "/version", "/v1/messages/count_tokens")
KINDS = {**PROMPTS, **dict.fromkeys(TOKENS, "tokens")}
"""Everything else below /v1/ is of kind ``other``: it goes to an engine that writes answers, as it is."""
HEADER = "X-Dplaunch-Pair"
"""Names the engines that a request wants, and in its answer those that it had."""

Pair = Mapping[str, Member]
"""Role → the engine that was named for it; empty for a request that names none."""


@dataclass(frozen=True)
class Request:
    """What a client asks, read whole. ``started`` is monotonic, as is the message's deadline."""

    id: str
    kind: str
    message: Message
    """What every try starts from: its body is the client's, without a KV handle."""
    body: bodies.Body
    started: float
    pair: Pair = field(default_factory=dict)
    """The engines that the client named; none as a rule."""

    def headers(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """Return the answer's headers: an engine's, the request's id, and the engines that were named."""
        headers = {**theirs, "X-Request-Id": self.id}
        if self.pair:
            roles = ("prefill", "decode", "serve")
            headers[HEADER] = ",".join(self.pair[role].entry.name for role in roles if role in self.pair)
        return headers

    def ask(self, content: bytes, tag: str) -> Message:
        """Return the message of one phase of the try ``tag``."""
        return replace(self.message, body=content, headers={**self.message.headers, "X-Request-Id": tag})

    def recomputed(self, piece: bytes) -> bool:
        """Whether the engine gave up. Not where the client's own stop string is that very word."""
        return bodies.recomputed(piece) and b"recomputed" not in self.body.raw
