"""Known answers: the words of the prompt, one per token, repeated or cut to the tokens asked for."""

from __future__ import annotations

import itertools
import zlib

GARBAGE = ("\u00ff", "\ufffd", "ÿÿ", "\u0001", "}{", "aaaaaaaa")


class Prompt:
    """``words`` an answer is made of; ``tokens`` the whole prompt has (a chat's other messages count too).

    ``whole``: the words of all messages, where they are known.
    """

    def __init__(self, words: list[str], tokens: int, whole: list[str] | None = None) -> None:
        self.words = words
        self.tokens = tokens
        self.whole = words if whole is None else whole


class BadPromptError(ValueError):
    """A prompt the API does not take; the text is the answer's message."""


def completion_prompts(prompt: object) -> list[Prompt]:
    """One Prompt per text of a /v1/completions body: a string, token ids, or a list of either."""
    if isinstance(prompt, str):
        return [_count_words(prompt.split())]
    if isinstance(prompt, list) and prompt and all(isinstance(item, int) for item in prompt):
        return [_count_words([str(item) for item in prompt])]
    if isinstance(prompt, list) and prompt:
        return [one for item in prompt for one in completion_prompts(item)]
    raise BadPromptError("Either prompt or prompt_embeds must be provided and non-empty.")


def chat_prompt(messages: object) -> Prompt:
    """The last user message is echoed; all messages are counted."""
    if not isinstance(messages, list) or not messages:
        raise BadPromptError("1 validation error: messages must be a list with at least one message")
    whole, last = [], []
    for message in messages:
        words = _flatten_content(message.get("content") if isinstance(message, dict) else None).split()
        whole += words
        if isinstance(message, dict) and message.get("role") == "user":
            last = words
    if not whole:
        raise BadPromptError("The decoder prompt cannot be empty")
    return Prompt(last or ["(none)"], len(whole), whole)


def answer(words: list[str], tokens: int, manner: str = "") -> list[str]:
    """``tokens`` texts which joined give the answer.

    ``manner``: "" = echo, ``empty``, ``garbage``, ``noise`` (random weights: it depends on the words alone).
    """
    if manner == "empty":
        return [""] * tokens
    source = GARBAGE if manner == "garbage" else words
    if manner == "noise":
        source = [chr(1 + token_id(word) % 31) + chr(0x80 + token_id(word) % 32) for word in words]
    picked = itertools.islice(itertools.cycle(source), tokens)
    return [word if index == 0 else f" {word}" for index, word in enumerate(picked)]


def token_id(text: str) -> int:
    """The same for the same text, in a vocabulary of 100,000."""
    return zlib.crc32(text.encode()) % 100_000


def _count_words(words: list[str]) -> Prompt:
    if not words:
        raise BadPromptError("The decoder prompt cannot be empty")
    return Prompt(words, len(words))


def _flatten_content(content: object) -> str:
    """A message's text: a string, or OpenAI's list of parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
