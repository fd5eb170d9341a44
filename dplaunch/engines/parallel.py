"""Flags that follow from the topology and are the same in every vLLM."""

from __future__ import annotations

from dplaunch.engines.adapter import Site
from dplaunch.engines.flags import words
from dplaunch.engines.settings import Flags


def computed(site: Site) -> Flags:
    """Host and parallel sizes; data- and tensor-parallel ones stand in the templates."""
    role = site.role
    sizes = {
        "pipeline-parallel-size": role.pp,
        "prefill-context-parallel-size": role.pcp,
        "decode-context-parallel-size": role.dcp,
    }
    return {
        "host": words("host", "0.0.0.0"),
        **{flag: words(flag, size) for flag, size in sizes.items() if size > 1},
        "enable-expert-parallel": words("enable-expert-parallel", role.expert_parallel),
    }
