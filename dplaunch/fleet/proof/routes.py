"""Which pairs of endpoints a proof asks, and how they are described. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from math import lcm

from dplaunch.model.cluster import DECODE, PREFILL
from dplaunch.model.plan import Endpoint, Plan
from dplaunch.model.proof import Pair
from dplaunch.ranges import fold, grouped
from dplaunch.words import plural

MANY = 64
"""From more pairs than this only a sample is asked, unless all are wanted."""


def routes(engines: Sequence[Endpoint]) -> tuple[Pair, ...]:
    """Every prefill × decode pair; each engine alone where the roles are not split."""
    prefills, decodes = _sides(engines)
    if not prefills:
        return tuple(_pair(engine) for engine in engines)
    return tuple(_pair(prefill, decode) for prefill in prefills for decode in decodes)


def sample(engines: Sequence[Endpoint], most: int = MANY) -> tuple[Pair, ...]:
    """All pairs, or of many at least ``most``: round robin, every engine in one, always the same."""
    prefills, decodes = _sides(engines)
    p, d = len(prefills), len(decodes)
    if p * d <= most:
        return routes(engines)  # engines that serve alone are never left out
    # After each full turn one side advances by one, so that no pair comes twice.
    turn, count = lcm(p, d), max(most, p, d)
    return tuple(_pair(prefills[i % p], decodes[(i + i // turn) % d]) for i in range(count))


def choose_pairs(
    engines: Sequence[Endpoint], *, everything: bool, about: Collection[str] | None = None
) -> tuple[tuple[Pair, ...], int]:
    """The pairs to ask, and how many there are; ``about``: only those that contain one of these engines."""
    pairs = _about(routes(engines), about)
    asked = pairs if everything or len(pairs) <= MANY else _about(sample(engines), about)
    return asked, len(pairs)


def _about(pairs: tuple[Pair, ...], names: Collection[str] | None) -> tuple[Pair, ...]:
    return pairs if names is None else tuple(p for p in pairs if any(name in names for name in p.engines))


def _sides(engines: Sequence[Endpoint]) -> tuple[list[Endpoint], list[Endpoint]]:
    return [e for e in engines if e.role == PREFILL], [e for e in engines if e.role == DECODE]


def _pair(*engines: Endpoint) -> Pair:
    return Pair(tuple(e.name for e in engines), tuple(e.node for e in engines))


def chooses_by_header(plan: Plan) -> bool:
    """Whether pairs can be chosen by header, which only our router supports."""
    return plan.router is not None and plan.router.kind == "dplaunch"


def cannot_choose(plan: Plan) -> bool:
    """Whether pairs cannot be chosen: the engines, or a foreign router that asks decode first, do it."""
    if plan.flow == "alone":
        return any(endpoint.role == PREFILL for endpoint in plan.endpoints)
    return plan.flow == "push" and not chooses_by_header(plan)


def count_pairs(pairs: Sequence[Pair], total: int) -> str:
    """``8 prefill × decode pairs``, ``64 of 512 prefill × decode pairs``, ``4 engines``."""
    of = "" if len(pairs) == total else f"{len(pairs)} of "
    alone = any(len(pair.engines) == 1 for pair in pairs)
    return of + plural(total, "engine" if alone else "prefill × decode pair")


def describe_pairs(pairs: Iterable[Pair]) -> str:
    """``prefill-[0-1] → decode-3``: pairs in few words, prefill engines with equal partners together."""
    partners = grouped((pair.engines[0], pair.engines[1:]) for pair in pairs)
    same = grouped((tuple(chain(*others)), first) for first, others in partners.items())
    return "; ".join(" → ".join(filter(None, (fold(first), fold(o)))) for o, first in same.items())
