"""The knobs of the vLLM stand-in (documented in this package)."""

from __future__ import annotations

from .. import knobs

STAGES = (
    *("plugin", "args"),
    "coordinator",  # rank 0 of a group
    "handshake",  # groups
    *("init", "ranks", "gloo", "load", "memory"),
    "kv",  # with KV transfer
    "graphs",  # without --enforce-eager
    *("ready", "http"),
)
"""The start-up stages of ``vllm serve`` in order; the knob HANG takes one of them."""


class Knobs(knobs.Knobs):
    """What every stand-in has, and what only vLLM can do wrong."""

    def __init__(self, env: dict[str, str], rank: int) -> None:
        super().__init__(env, rank, STAGES)
        if self.title == "1":
            self.title = "VLLM::EngineCore"
        self.handshake = knobs.number(self.setting("HANDSHAKE_S", "300"))
        self.never_ready = self.switch("NEVER_READY")
        self.dead_group_health = int(knobs.number(self.fault("DEAD_GROUP_HEALTH", "200")))
        self.first_fetch_fails = self.switch("FIRST_FETCH_FAILS")
        self.source_timeout = knobs.number(self.setting("SOURCE_TIMEOUT_S", "0"))
        self.slow_pull = knobs.number(self.fault("SLOW_PULL", "0"))
        self.bad_kv_from = self.fault("BAD_KV_FROM")
