"""Flags that follow from the topology and are the same in every vLLM."""

from __future__ import annotations

from math import ceil

from msgspec.structs import replace

from dplaunch.engines.adapter import Site
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Flags
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.releases import QUIET_ACCESS_LOG, SHUTDOWN_TIMEOUT
from dplaunch.model.cluster import RoleSpec
from dplaunch.model.plan import StopStep

STOP = (StopStep("TERM", 30.0), StopStep("KILL", 10.0))
"""vllm-ascend's own test harness waits as long; what is left then is killed."""


def drain_seconds(role: RoleSpec, version: str) -> int | None:
    """How long a vLLM lets requests finish, and KV be fetched, after SIGTERM; None: it cuts them."""
    return ceil(role.drain_timeout) if at_least(version, SHUTDOWN_TIMEOUT) else None


def stop(role: RoleSpec, version: str) -> tuple[StopStep, ...]:
    """How to end a vLLM: it gets longer than it takes by itself."""
    term, *rest = STOP
    return replace(term, grace=term.grace + (drain_seconds(role, version) or 0)), *rest


def computed(site: Site, version: str) -> Flags:
    """Host and parallel sizes for a version of vLLM; data- and tensor-parallel ones stand in the templates.

    The router asks for health and metrics every second: from vLLM 0.16 on that stays out of the log.
    """
    quiet = "/health,/metrics" if at_least(version, QUIET_ACCESS_LOG) else None
    role = site.role
    sizes = {
        "pipeline-parallel-size": role.pp,
        "prefill-context-parallel-size": role.pcp,
        "decode-context-parallel-size": role.dcp,
    }
    return {
        "host": words("host", "::" if ":" in site.node.address else "0.0.0.0"),
        "disable-access-log-for-endpoints": words("disable-access-log-for-endpoints", quiet),
        "shutdown-timeout": words("shutdown-timeout", drain_seconds(role, version)),
        **{flag: words(flag, size) for flag, size in sizes.items() if size > 1},
        "enable-expert-parallel": words("enable-expert-parallel", role.expert_parallel),
    }
