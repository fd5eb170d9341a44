"""The start-up stages of ``vllm serve``, in order."""

from __future__ import annotations

STAGES = (
    *("plugin", "args"),
    "coordinator",  # rank 0 of a group
    "handshake",  # groups
    *("init", "ranks", "gloo", "load", "memory"),
    "kv",  # with KV transfer
    "graphs",  # without --enforce-eager
    *("ready", "http"),
)
"""Their names; the knob HANG takes one of them."""
