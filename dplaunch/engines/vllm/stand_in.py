"""What plays ``vllm`` in a rehearsal."""

from __future__ import annotations

from dplaunch.engines.adapter import StandIn

PROGRAM = """#!/bin/sh
# Stands in for vLLM: the rehearsal engine takes the same arguments and environment.
exec python3 -I -S "${DPLAUNCH_BUNDLE:?is not set: start rehearsals with dplaunch}" rehearsal vllm "$@"
"""


def stand_in(version: str) -> StandIn:
    """The rehearsal engine, in the manner of a version of vLLM; empty: of its own choice."""
    return StandIn({"vllm": PROGRAM}, {"DPLAUNCH_REHEARSAL_VERSION": version} if version else {})
