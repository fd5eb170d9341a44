"""Prometheus text: the sum of a metric over its label sets. No rules."""

from __future__ import annotations

import math
import re

_LABELLED = re.compile(r"([^{]+)\{(.*)\}")


def total(page: str, metric: str) -> float | None:
    """The sum of ``metric`` on ``page``; None where its family is not there.

    ``metric`` is a name, or ``name{label="value"}``: then a family that is there without this label counts 0.
    """
    match = _LABELLED.fullmatch(metric)
    name, label = match.groups() if match else (metric, "")
    lines = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    if not lines:
        return None
    return sum(_value(line) for line in lines if label in line)


def family(metric: str) -> str:
    """The name of ``metric``, without labels."""
    return metric.partition("{")[0]


def _value(line: str) -> float:
    try:
        value = float((line.rpartition("}")[2] if "}" in line else line.partition(" ")[2]).split()[0])
    except (ValueError, IndexError):
        return 0.0
    return value if math.isfinite(value) else 0.0
