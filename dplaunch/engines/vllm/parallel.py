"""Flags that follow from the topology and are the same in every vLLM."""

from __future__ import annotations

from dplaunch.engines.adapter import Site
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Flags
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.releases import QUIET_ACCESS_LOG


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
        "host": words("host", "0.0.0.0"),
        "disable-access-log-for-endpoints": words("disable-access-log-for-endpoints", quiet),
        **{flag: words(flag, size) for flag, size in sizes.items() if size > 1},
        "enable-expert-parallel": words("enable-expert-parallel", role.expert_parallel),
    }
