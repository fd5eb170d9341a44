"""Switches of vllm-ascend, and what their names were through the versions: what ``switches.json`` holds.

Looked up in its sources at every release from 0.9.1 to 0.25.1rc1.
"""

from __future__ import annotations

import json
from pathlib import Path

from dplaunch.engines.vllm.switches import VLLM, read

_TABLE = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))

ASCEND = (*VLLM, *read(_TABLE["switches"]))
"""What vllm-ascend reads, and what vLLM below it does."""

ASCEND_PROXY = read(_TABLE["proxy"])
"""Flags of vLLM-Ascend's proxy script."""

FAMILIES = tuple(map(tuple, _TABLE["families"]))
"""Names that one thing had through the versions, in order: the last that a version reads is to be used."""

NOTES: dict[str, str] = _TABLE["notes"]
"""What to know when one of them is to be used."""

SECTIONS: dict[str, list[str]] = _TABLE["sections"]
"""Keys inside sections of ``--additional-config``, of all versions: to guess what a misspelt one meant."""
