"""Switches as data: what reads them from which version on, and until when; those of vLLM itself.

vLLM's rows were looked up in 0.9.1, 0.11.0, 0.13.0, 0.18.0 and 0.23.0: between two of those a bound is the
later one, and ``lacking`` is the last version looked at without the switch. Plain tuples: every start reads
them.
"""

from __future__ import annotations

from typing import NamedTuple

from dplaunch.engines.versions import at_least

ENV = "env"
KEY = "key"
"""A key of ``--additional-config``; dots lead into its sections."""
FLAG = "flag"
PROXY = "proxy"
"""A flag of a router script that the engine brings."""

IGNORED = "ignored"
REFUSED = "refused"
"""The program does not start with it."""
RESET = "reset"
"""The engine takes it and switches it off."""

ALWAYS = ""
NEVER = "0.0.0"
"""As ``gone``: no version reads it."""

ARGUMENTS = "vLLM, vllm/engine/arg_utils.py of 0.9.1, 0.11.0, 0.13.0, 0.18.0 and 0.23.0"


class Switch(NamedTuple):
    """One switch. ``gone`` is the first version without it, ``kept_by`` a connector that reads it longer."""

    name: str
    kind: str
    first: str
    gone: str
    instead: str
    source: str
    effect: str = IGNORED
    lacking: str = ""
    kept_by: str = ""

    def begun(self, version: str) -> bool:
        """That version has it already, or that is not known."""
        if not self.first or at_least(version, self.first):
            return True
        return bool(self.lacking) and not at_least(self.lacking, version)

    def ended(self, version: str) -> bool:
        """That version has it no more."""
        return bool(self.gone) and at_least(version, self.gone)

    def lives(self, version: str) -> bool:
        """That version has it."""
        return self.begun(version) and not self.ended(version)


VLLM = (
    Switch(
        "VLLM_USE_V1",
        ENV,
        ALWAYS,
        "0.12.0rc0",
        "remove it: V1 is the only engine",
        "vLLM PR #28204, vllm-ascend PR #4086",
    ),
    Switch(
        "VLLM_RPC_TIMEOUT",
        ENV,
        ALWAYS,
        "0.23.0rc0",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS, if steps take long",
        "vLLM 0.23.0, vllm/envs.py",
    ),
    Switch(
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
        ENV,
        "0.11.0rc0",
        ALWAYS,
        "remove it",
        "vLLM 0.9.1 and 0.11.0, vllm/envs.py",
        lacking="0.9.1",
    ),
    Switch(
        "VLLM_ENGINE_READY_TIMEOUT_S",
        ENV,
        "0.14.0rc0",
        ALWAYS,
        "remove it: the limit is fixed at 600 s there",
        "vLLM 0.13.0 and 0.18.0, vllm/envs.py; vllm-ascend PR #7098",
        lacking="0.13.0",
    ),
    Switch("disable-log-requests", FLAG, ALWAYS, "0.18.0rc0", "remove it", ARGUMENTS, REFUSED),
    Switch("enable-dbo", FLAG, "0.11.0rc0", ALWAYS, "remove it", ARGUMENTS, REFUSED, "0.9.1"),
    Switch("all2all-backend", FLAG, "0.13.0rc0", ALWAYS, "remove it", ARGUMENTS, REFUSED, "0.11.0"),
    Switch("ubatch-size", FLAG, "0.18.0rc0", ALWAYS, "remove it", ARGUMENTS, REFUSED, "0.13.0"),
)
"""What vLLM reads itself, on any hardware."""
