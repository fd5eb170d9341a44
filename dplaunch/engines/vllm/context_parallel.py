"""What vLLM refuses of context parallelism: ``pcp`` and ``dcp`` of a role, by version.

Source: vLLM 0.13.0 to 0.33.0, ``vllm/config/parallel.py`` and ``vllm.py``, ``vllm/v1/worker/cp_utils.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines.versions import at_least
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, RoleSpec

SPANS = "0.27.0"
"""From here on dcp may span pcp as well; before, only tp."""
LAST_WITHOUT_PCP = "0.25.1"
"""The last version read in which no attention backend supports pcp."""
NIXL_WITH_PCP = "0.31.0"
"""NIXL refuses pcp in 0.29, and from here on takes two sizes of dcp."""


def check(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    """Sizes that a vLLM of this version does not start with, on any hardware."""
    for role in spec.roles:
        yield from _spans(role, version)


def check_alone(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    """The same for vLLM without a plugin that brings attention backends of its own."""
    for role in spec.roles:
        if role.pcp > 1 and at_least(LAST_WITHOUT_PCP, version):
            text = f"no attention backend of vllm {version} supports pcp, which is {role.pcp} for {role.name}"
            yield Problem(text, key=f"roles.{role.name}.pcp", hint=f"pcp: 1, or vllm {SPANS} or later")
        elif spec.kv_transfer is not None:
            yield from _nixl(role, version)


def _spans(role: RoleSpec, version: str) -> Iterator[Problem]:
    """Sizes of dcp: it reuses the devices of tp; newer versions let it span those of pcp instead, or all."""
    if at_least(version, SPANS) and role.pcp > 1:
        fitting = sorted({1, role.pcp, role.tp * role.pcp})
        if role.dcp not in fitting:
            sizes = f"pcp {role.pcp} and tp {role.tp} of {role.name}"
            text = f"vLLM {version} does not take dcp {role.dcp} with {sizes}"
            hint = f"dcp: {' or '.join(map(str, fitting))}"
            yield Problem(text, key=f"roles.{role.name}.dcp", hint=hint)
    elif role.tp % role.dcp and at_least(LAST_WITHOUT_PCP, version):
        text = f"dcp {role.dcp} of {role.name} does not divide tp {role.tp}, which vLLM {version} wants"
        yield Problem(text, key=f"roles.{role.name}.dcp", hint="make dcp a divisor of tp")


def _nixl(role: RoleSpec, version: str) -> Iterator[Problem]:
    if role.pcp > 1 and at_least(version, "0.29.0") and not at_least(version, "0.30.0"):
        text = f"NIXL of vllm {version} does not support pcp, which is {role.pcp} for {role.name}"
        yield Problem(text, key=f"roles.{role.name}.pcp", hint="pcp: 1")
    whole = max(role.tp, role.pcp)
    if role.dcp not in (1, whole) and at_least(version, NIXL_WITH_PCP):
        text = f"NIXL in vllm {version} moves KV whole or split over all, dcp of {role.name} is {role.dcp}"
        yield Problem(text, key=f"roles.{role.name}.dcp", hint=f"dcp: 1 or {whole}")
