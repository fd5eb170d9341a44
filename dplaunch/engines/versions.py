"""Versions as data: which vllm-ascend releases exist, what they pair with, and how versions compare.

Source: vllm-ascend's versioning policy (release compatibility matrix), facts §1.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from dplaunch.frozen import dataclass

FINAL = 1_000
"""Stands for "no rc" in a version's last place: a release is later than its candidates."""

Version = tuple[int, int, int, int]
"""(major, minor, patch, rc), rc = FINAL for a release."""

_SHAPE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:rc(\d+))?(?:\.?post\d+)?(?:\+\S*)?")


@cache
def parse(text: str) -> Version | None:
    """``"0.11.0rc2"`` → (0, 11, 0, 2); ``"0.23.0"`` → (0, 23, 0, FINAL); None when it is no version."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch, candidate = match.groups()
    return int(major), int(minor), int(patch or 0), FINAL if candidate is None else int(candidate)


def at_least(text: str, least: str) -> bool:
    """``text`` is ``least`` or later. What is no version counts as the newest there could be."""
    version, bound = parse(text), parse(least)
    return version is None or bound is None or version >= bound


@dataclass(frozen=True, slots=True)
class AscendRelease:
    """One vllm-ascend release: the vLLM it patches and the CANN it was built for."""

    version: str
    vllm: str
    cann: str


ASCEND_RELEASES = tuple(
    AscendRelease(*row)
    for row in (
        ("0.9.1", "0.9.1", "8.2.RC1"),
        ("0.10.1rc1", "0.10.1.1", "8.2.RC1"),
        ("0.10.2rc1", "0.10.2", "8.2.RC1"),
        ("0.11.0rc0", "0.11.0rc3", "8.2.RC1"),
        ("0.11.0rc1", "0.11.0", "8.3.RC1"),
        ("0.11.0rc2", "0.11.0", "8.3.RC2"),
        ("0.11.0rc3", "0.11.0", "8.3.RC2"),
        ("0.11.0", "0.11.0", "8.3.RC2"),
        ("0.12.0rc1", "0.12.0", "8.3.RC2"),
        ("0.13.0rc1", "0.13.0", "8.3.RC2"),
        ("0.13.0rc2", "0.13.0", "8.5.0"),
        ("0.13.0", "0.13.0", "8.5.0"),
        ("0.14.0rc1", "0.14.1", "8.5.0"),
        ("0.15.0rc1", "0.15.0", "8.5.0"),
        ("0.16.0rc1", "0.16.0", "8.5.1"),
        ("0.17.0rc1", "0.17.0", "8.5.1"),
        ("0.18.0rc1", "0.18.0", "8.5.1"),
        ("0.18.0", "0.18.0", "8.5.1"),
        ("0.19.1rc1", "0.19.1", "8.5.1"),
        ("0.20.2rc1", "0.20.2", "9.0.0"),
        ("0.21.0rc1", "0.21.0", "9.0.0"),
        ("0.22.1rc1", "0.22.1", "9.0.0"),
        ("0.23.0rc1", "0.23.0", "9.0.1"),
        ("0.23.0", "0.23.0", "9.1.0"),
    )
)
"""Every release with a documented launch contract. 0.9.2rc1 and 0.10.0rc1 exist too, but have
neither contract A's patch nor contract B's flags in their documents."""

NEWEST_ASCEND = ASCEND_RELEASES[-1].version
FIRST_CONTRACT_B = "0.10.1rc1"


def ascend_release(text: str) -> AscendRelease | None:
    """The release meant: exact, or (for "0.10.1") a candidate of that release."""
    version = parse(text)
    exact = (r for r in ASCEND_RELEASES if parse(r.version) == version)
    candidates = (r for r in reversed(ASCEND_RELEASES) if _release_part(r.version) == version)
    return next(exact, None) or next(candidates, None)


def _release_part(text: str) -> Version | None:
    version = parse(text)
    return version and (*version[:3], FINAL)


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
