"""Words of ``vllm serve`` as flags with values, by their full names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dplaunch.engines.flagtable import Flags

SHORT = {
    "asc": "api-server-count",
    "dp": "data-parallel-size",
    "dpa": "data-parallel-address",
    "dpb": "data-parallel-backend",
    "dpe": "data-parallel-external-lb",
    "dph": "data-parallel-hybrid-lb",
    "dpl": "data-parallel-size-local",
    "dpm": "data-parallel-multi-port-external-lb",
    "dpn": "data-parallel-rank",
    "dpp": "data-parallel-rpc-port",
    "dpr": "data-parallel-start-rank",
    "dcp": "decode-context-parallel-size",
    "ep": "enable-expert-parallel",
    "n": "nnodes",
    "pcp": "prefill-context-parallel-size",
    "pp": "pipeline-parallel-size",
    "q": "quantization",
    "r": "node-rank",
    "tp": "tensor-parallel-size",
}
"""Short forms of vLLM's flags (vllm/engine/arg_utils.py)."""
_FLAG = re.compile(r"--?[A-Za-z]")
MODEL = "model"


def parse(words: Sequence[str], known: Flags | None) -> dict[str, Any]:
    """Flag → value: True for a bare one, False for ``--no-x``, a list for several words; with ``model``."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if not _FLAG.match(word):
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = _full(name)
        taken = [value] if equals else _values(words, at)
        at += 0 if equals else len(taken)
        if taken and not equals and _bare(name, known):
            rest, taken = [*rest, *taken], []
        _give(found, name, taken)
    if rest:
        found.setdefault(MODEL, rest[0])
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same to the engine's parser."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return str(one).lower() == str(other).lower()
    return bool(one == other) or str(one) == str(other)


def _full(name: str) -> str:
    head, dot, rest = name.partition(".")
    return SHORT.get(head, head).replace("_", "-") + dot + rest


def _values(words: Sequence[str], at: int) -> list[str]:
    end = at
    while end < len(words) and not _FLAG.match(words[end]):
        end += 1
    return list(words[at:end])


def _bare(name: str, known: Flags | None) -> bool:
    """Whether the flag takes no value, so that what follows is something else."""
    flag = known.find(name) if known else None
    return flag is not None and flag.kind in ("bool", "flag")


def _give(found: dict[str, Any], name: str, taken: list[str]) -> None:
    if not taken and name.startswith("no-"):
        found[name.removeprefix("no-")] = False
    elif not taken:
        found[name] = True
    else:
        values = [scalar(text) for text in taken]
        found[name] = values[0] if len(values) == 1 else values


def scalar(text: str) -> Any:
    """JSON as what it holds, numbers as numbers where nothing is lost; else the text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if re.fullmatch(r"-?(?:0|[1-9]\d*)", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    return text
