"""Versions as the adapters ask for them; the releases themselves and how they compare: ``model.releases``."""

from __future__ import annotations

from collections.abc import Iterable

from dplaunch.model.releases import ASCEND_RELEASES, FINAL, AscendRelease, ascend_release, at_least, parse

NEWEST_ASCEND = ASCEND_RELEASES[-1].version
FIRST_CONTRACT_B = "0.10.1rc1"


def neighbours(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The last known version before ``text`` and the first after it, as far as they exist."""
    version = parse(text)
    ordered = [(parsed, name) for name in known if (parsed := parse(name)) is not None]
    if version is None:
        return (ordered[-1][1],) if ordered else ()
    before = [name for parsed, name in ordered if parsed < version][-1:]
    after = [name for parsed, name in ordered if parsed > version][:1]
    return (*before, *after)


def is_contract_a(text: str) -> bool:
    """Environment-driven external data parallelism (facts §1.2); flags from 0.10.1rc1 on (§1.3)."""
    return not at_least(text, "0.10.0rc0")


__all__ = [
    "ASCEND_RELEASES",
    "FINAL",
    "FIRST_CONTRACT_B",
    "NEWEST_ASCEND",
    "AscendRelease",
    "ascend_release",
    "at_least",
    "is_contract_a",
    "neighbours",
    "parse",
]
