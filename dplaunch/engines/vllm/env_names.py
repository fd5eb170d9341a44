"""Environment variables that look like a slip of the pen: all but a name that an engine or a library reads.

The names are in ``env_names.json``: of engines from their sources (``scripts/env_names.py``), of libraries
from NCCL's sources and from CANN's and PyTorch's documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from dplaunch.engines.rules import environments, warning
from dplaunch.engines.vllm.lint import Engine
from dplaunch.engines.vllm.switches import ENV
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec

_TABLE = Path(__file__).with_suffix(".json")
_CLOSE = 0.9
"""How similar a name must be to a known one; names that differ in numbers only do not count as similar."""


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Every variable of the file that is probably misspelt, at its place."""
    for place, env in environments(spec):
        for name in env:
            for problem in judge(name, engine):
                yield warning(problem.text, f"{place}.{name}", problem.hint, problem.source)


def judge(name: str, engine: Engine) -> Iterator[Problem]:
    """One variable: whether it is nearly the name of another."""
    meant = _meant(name, frozenset(engine.rows(ENV)))
    if meant:
        text = f"nothing is known to read {name}, which is nearly {meant}"
        yield warning(
            text, "", f"did you mean {meant}?", f"environment variables of {engine} and its libraries"
        )


@cache
def _known() -> frozenset[str]:
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return frozenset(name for names in table.values() for name in names)


def _meant(name: str, switches: Collection[str]) -> str:
    """The name that was probably meant; empty for one that is known, or like none."""
    known = _known()
    if name in known or name in switches:
        return ""
    close = get_close_matches(name, known, n=1, cutoff=_CLOSE)
    return close[0] if close and _letters(close[0]) != _letters(name) else ""


def _letters(name: str) -> str:
    return re.sub(r"\d+", "#", name)
