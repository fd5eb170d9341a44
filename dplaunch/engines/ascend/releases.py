"""Releases of vllm-ascend, read from ``releases.json``: what each was built for and tested with.

Source: vllm-ascend, docs/source/community/versioning_policy.md (release compatibility matrix);
for 0.24.0rc1 and 0.25.1rc1, which it lacks, Dockerfile and requirements.txt of the tags.
"""

from __future__ import annotations

import json
from pathlib import Path

from msgspec import Struct

from dplaunch.engines.facts import Software
from dplaunch.engines.versions import FINAL, Version, at_least, parse


class Release(Struct, frozen=True):
    """One vllm-ascend release: the vLLM it patches, the CANN and torch it was built for."""

    version: str
    vllm: str
    cann: str
    torch: str
    torch_npu: str


RELEASES = tuple(
    Release(*row) for row in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
)
"""Every release from 0.9.1 to 0.25.1rc1 with a documented launch contract: 0.9.2rc1 and 0.10.0rc1 exist too,
but have neither contract A's patch nor contract B's flags in their documents."""

NEWEST = RELEASES[-1].version

CANN_TOO = {"0.23.0": ("9.0.1",)}
"""Release → further CANN versions its own documents name: for 0.23.0 matrix and release notes differ."""


def find(text: str) -> Release | None:
    """The release meant: exact, or (for "0.10.1") a candidate of that release."""
    version = parse(text)
    exact = (r for r in RELEASES if parse(r.version) == version)
    candidates = (r for r in reversed(RELEASES) if _release_part(r.version) == version)
    return next(exact, None) or next(candidates, None)


def software(version: str) -> tuple[Software, ...]:
    """What should be on the nodes for this version of vllm-ascend."""
    found = find(version)
    own = Software("vllm-ascend", (version, found.version) if found else (version,), "the cluster file has")
    if found is None:
        return (own,)
    others = {
        "CANN": (found.cann, *CANN_TOO.get(found.version, ())),
        "torch": (found.torch,),
        "torch_npu": (found.torch_npu,),
    }
    made_with = f"vllm-ascend {found.version} was released with"
    return (
        own,
        Software("vllm", (found.vllm,), f"vllm-ascend {version} wants"),
        *(Software(name, wanted, made_with, wanted=False) for name, wanted in others.items()),
    )


def _release_part(text: str) -> Version | None:
    version = parse(text)
    return version and (*version[:3], FINAL)


def is_contract_a(text: str) -> bool:
    """Data parallelism by environment (until 0.9.1); flags do it from 0.10.1rc1 on."""
    return not at_least(text, "0.10.0rc0")
