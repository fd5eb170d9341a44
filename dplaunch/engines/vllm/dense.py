"""What vLLM does with a model without experts whose ranks are balanced from outside, by version."""

from __future__ import annotations

from typing import NamedTuple

from dplaunch.engines.facts import Dense
from dplaunch.engines.versions import at_least


class _Row(NamedTuple):
    """``first``: the vLLM from which on. Read in 0.11.0, 0.13.0, 0.14.0, 0.18.0, 0.20.2, 0.21.0, 0.23.0."""

    first: str
    refused: bool
    effect: str
    source: str


_ALONE = "in vLLM {version} every rank then runs alone, as with dp: 1"
_ROWS = (
    _Row(
        "0.21.0",
        True,
        'vLLM {version} refuses it: "Non-MoE models do not support external data parallel mode…"',
        "vLLM 0.21.0, vllm/engine/arg_utils.py",
    ),
    _Row("0.14.0", False, _ALONE, "vLLM 0.14.0, vllm/v1/engine/core.py"),
    _Row(
        "0.13.0",
        True,
        "vLLM {version} ends on a bare AssertionError after loading (vllm#32252)",
        "vLLM issue #32252",
    ),
    _Row("0.0.0", False, _ALONE, "vLLM 0.11.0, vllm/v1/engine/core.py"),
)


def dense(version: str) -> Dense:
    """The effect in this vLLM; one that is not a version counts as the newest."""
    row = next(row for row in _ROWS if at_least(version, row.first))
    return Dense(row.refused, row.effect.format(version=version), row.source)
