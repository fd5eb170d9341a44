"""The result of a proof: which pairs of engines gave right answers, and whether KV moved."""

from __future__ import annotations

from msgspec import Struct


class Pair(Struct, frozen=True):
    """The engines that one request goes through, in order: prefill and decode, or one that does both."""

    engines: tuple[str, ...]
    nodes: tuple[str, ...]
    """The nodes of these engines, in the same order."""

    @property
    def key(self) -> str:
        """``prefill-0,decode-3``: the value of the router's header."""
        return ",".join(self.engines)

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Each engine and its node."""
        return tuple(zip(self.engines, self.nodes, strict=True))


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to a request whose right answer is known; the second one if the first was wrong."""

    seconds: float = 0.0
    text: str = ""
    wrong: str = ""
    """What is wrong with it (``answered 200 with empty text``); empty if it is plausible."""
    tokens: tuple[int, ...] = ()
    """Ids of the generated tokens, where the engine returns them."""
    flat: bool = False
    """The likeliest tokens are equally likely, as with dummy weights; False where that was not asked."""
    senseless: str = ""
    """Why its text is no answer to the prompt. That is wrong unless no engine knows the answer."""
    first: str = ""
    """What was wrong with the first answer, if the request was repeated."""


class KvGrowth(Struct, frozen=True):
    """How much a decode engine's counter of KV from other engines has grown; None: it has no counter."""

    engine: str
    node: str
    grown: float | None

    @property
    def wrong(self) -> bool:
        """The engine has a counter, and it has not grown."""
        return self.grown is not None and self.grown <= 0


class OddOneOut(Struct, frozen=True):
    """The ``engine`` or ``node`` (``kind``) that is in every failed pair and in no good one."""

    kind: str
    name: str
    node: str


class Proof(Struct, frozen=True, kw_only=True):
    """The result of a whole proof."""

    pairs: tuple[tuple[Pair, Answer], ...] = ()
    total: int = 0
    """Number of pairs of the cluster; if there are many, only some of them are asked."""
    router: tuple[Answer, ...] = ()
    """Through the router, which chooses the engines: one answer at once, then one as a stream."""
    kv_growth: tuple[KvGrowth, ...] = ()
    odd_one_out: OddOneOut | None = None
    judged: bool = True
    """The words were judged; False where no engine knows the answer, and token ids were compared instead."""
    notes: tuple[str, ...] = ()
    """Sentences about what did not fail but is worth knowing."""

    @property
    def failed(self) -> tuple[tuple[Pair, Answer], ...]:
        """The pairs whose answer is wrong."""
        return tuple((pair, answer) for pair, answer in self.pairs if answer.wrong)

    @property
    def good(self) -> tuple[tuple[Pair, Answer], ...]:
        """The pairs whose answer is plausible."""
        return tuple((pair, answer) for pair, answer in self.pairs if not answer.wrong)

    def suspects(self, pair: Pair) -> tuple[tuple[str, str], ...]:
        """Return a failed pair's engines with their nodes in the order to look at them.

        The odd one out comes first, then decode, then prefill.
        """
        odd, decode_first = self.odd_one_out, pair.places[::-1]
        return tuple(sorted(decode_first, key=lambda place: odd is None or place[0] != odd.name))

    @property
    def passed(self) -> bool:
        """Every answer is plausible, and every counter of KV has grown."""
        wrong = any(answer.wrong for answer in self.router) or any(kv.wrong for kv in self.kv_growth)
        return not wrong and not self.failed
