"""A user's own run_dp_template.sh as a value: whatever it starts is some vLLM."""

from __future__ import annotations

from dplaunch.engines.facts import EngineFacts
from dplaunch.engines.vllm.facts import API, COMPUTED, KEY_ENV, PORTS, SCRIPT, STAGES

FACTS = EngineFacts(
    kind="script",
    needs=frozenset(("path",)),
    ports=PORTS,
    script=SCRIPT,
    key_env=KEY_ENV,
    api=API,
    stages=STAGES,
    computed=COMPUTED,
)
