"""What a proof found: which engines answered right through which others, and whether KV moved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """The engines one request goes through, in order: prefill and decode, or one that does both."""

    engines: tuple[str, ...]
    nodes: tuple[str, ...]
    """Of the engines, in the same order."""

    @property
    def key(self) -> str:
        """``prefill-0,decode-3``: what the router's header takes."""
        return ",".join(self.engines)

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Each engine with its node."""
        return tuple(zip(self.engines, self.nodes, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one known-answer request, the second one where the first was wrong."""

    seconds: float = 0.0
    text: str = ""
    wrong: str = ""
    """What is wrong with it (``answered 200 with empty text``); empty when it is believable."""
    first: str = ""
    """What was wrong with the first one, where it was asked again."""


@dataclass(frozen=True, slots=True)
class Moved:
    """By how much a decode engine's counter of KV that came from elsewhere has grown; None: it has none."""

    engine: str
    node: str
    grown: float | None

    @property
    def wrong(self) -> bool:
        """It counts, and nothing came."""
        return self.grown is not None and self.grown <= 0


@dataclass(frozen=True, slots=True)
class Odd:
    """What all failed pairs have in common and no good one has: an ``engine`` or a ``node``."""

    kind: str
    name: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The whole of it."""

    pairs: tuple[tuple[Pair, Answer], ...] = ()
    total: int = 0
    """Pairs there are; fewer are asked where they are many."""
    router: tuple[Answer, ...] = ()
    """Through the router without a choice of engines: whole, then as a stream."""
    moved: tuple[Moved, ...] = ()
    odd: Odd | None = None
    notes: tuple[str, ...] = ()
    """Sentences about what is no failure, and worth knowing."""

    @property
    def failed(self) -> tuple[tuple[Pair, Answer], ...]:
        """Pairs whose answer is wrong."""
        return tuple((pair, answer) for pair, answer in self.pairs if answer.wrong)

    @property
    def good(self) -> tuple[tuple[Pair, Answer], ...]:
        """Pairs whose answer is believable."""
        return tuple((pair, answer) for pair, answer in self.pairs if not answer.wrong)

    def suspects(self, pair: Pair) -> tuple[tuple[str, str], ...]:
        """A failed pair's engines with their nodes, in the order to look at them: the odd one, decode."""
        odd, decode_first = self.odd.name if self.odd else "", pair.places[::-1]
        return tuple(sorted(decode_first, key=lambda place: place[0] != odd))

    @property
    def holds(self) -> bool:
        """Nothing of it failed."""
        wrong = any(answer.wrong for answer in self.router) or any(moved.wrong for moved in self.moved)
        return not wrong and not self.failed
