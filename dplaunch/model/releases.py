"""Releases of vllm-ascend as data: what each was built for and tested with, and how versions compare.

Source: vllm-ascend's versioning policy (release compatibility matrix), facts §1.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

FINAL = 1_000
"""A release in a version's last place: after its candidates, and before what mends it (0.10.1.1)."""

Version = tuple[int, int, int, int]
"""(major, minor, patch, last): n for rcn, FINAL for the release, FINAL + n for its n-th mend."""

_SHAPE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:rc(\d+)|\.(\d+))?(?:\.?post\d+)?(?:\+\S*)?")


@cache
def parse(text: str) -> Version | None:
    """``"0.11.0rc2"`` → (0, 11, 0, 2); ``"0.10.1.1"`` → (0, 10, 1, FINAL + 1); None: it is no version."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch, candidate, mend = match.groups()
    last = FINAL + int(mend or 0) if candidate is None else int(candidate)
    return int(major), int(minor), int(patch or 0), last


def at_least(text: str, least: str) -> bool:
    """``text`` is ``least`` or later. What is no version counts as the newest there could be."""
    version, bound = parse(text), parse(least)
    return version is None or bound is None or version >= bound


@dataclass(frozen=True, slots=True)
class AscendRelease:
    """One vllm-ascend release: the vLLM it patches and the CANN it was built for.

    ``torch`` and ``torch_npu`` are empty where the matrix, as read for us, does not name them.
    """

    version: str
    vllm: str
    cann: str
    torch: str = ""
    torch_npu: str = ""


ASCEND_RELEASES = tuple(
    AscendRelease(*row)
    for row in (
        ("0.9.1", "0.9.1", "8.2.RC1", "2.5.1", "2.5.1.post1"),
        ("0.10.1rc1", "0.10.1.1", "8.2.RC1", "2.7.1"),
        ("0.10.2rc1", "0.10.2", "8.2.RC1"),
        ("0.11.0rc0", "0.11.0rc3", "8.2.RC1"),
        ("0.11.0rc1", "0.11.0", "8.3.RC1"),
        ("0.11.0rc2", "0.11.0", "8.3.RC2"),
        ("0.11.0rc3", "0.11.0", "8.3.RC2"),
        ("0.11.0", "0.11.0", "8.3.RC2", "2.7.1", "2.7.1.post1"),
        ("0.12.0rc1", "0.12.0", "8.3.RC2", "2.8.0"),
        ("0.13.0rc1", "0.13.0", "8.3.RC2"),
        ("0.13.0rc2", "0.13.0", "8.5.0"),
        ("0.13.0", "0.13.0", "8.5.0", "2.8.0", "2.8.0.post2"),
        ("0.14.0rc1", "0.14.1", "8.5.0"),
        ("0.15.0rc1", "0.15.0", "8.5.0"),
        ("0.16.0rc1", "0.16.0", "8.5.1"),
        ("0.17.0rc1", "0.17.0", "8.5.1"),
        ("0.18.0rc1", "0.18.0", "8.5.1"),
        ("0.18.0", "0.18.0", "8.5.1", "2.9.0", "2.9.0.post1"),
        ("0.19.1rc1", "0.19.1", "8.5.1"),
        ("0.20.2rc1", "0.20.2", "9.0.0", "2.10.0"),
        ("0.21.0rc1", "0.21.0", "9.0.0"),
        ("0.22.1rc1", "0.22.1", "9.0.0"),
        ("0.23.0rc1", "0.23.0", "9.0.1"),
        ("0.23.0", "0.23.0", "9.1.0", "2.10.0", "2.10.0.post4"),
    )
)
"""Every release with a documented launch contract. 0.9.2rc1 and 0.10.0rc1 exist too, but have
neither contract A's patch nor contract B's flags in their documents."""

CANN_TOO = {"0.23.0": ("9.0.1",)}
"""Release → further CANN versions its own documents name: for 0.23.0 matrix and release notes differ."""


def ascend_release(text: str) -> AscendRelease | None:
    """The release meant: exact, or (for "0.10.1") a candidate of that release."""
    version = parse(text)
    exact = (r for r in ASCEND_RELEASES if parse(r.version) == version)
    candidates = (r for r in reversed(ASCEND_RELEASES) if _release_part(r.version) == version)
    return next(exact, None) or next(candidates, None)


def _release_part(text: str) -> Version | None:
    version = parse(text)
    return version and (*version[:3], FINAL)
