"""Releases of vLLM from the first whose data parallelism is given by rank, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dplaunch.engines.facts import Dense
from dplaunch.engines.versions import at_least, neighbours, parse
from dplaunch.errors import Problem

RELEASES = (
    *("0.10.0", "0.10.1", "0.10.1.1", "0.10.2", "0.11.0", "0.11.1", "0.11.2", "0.12.0", "0.13.0"),
    *("0.14.0", "0.14.1", "0.15.0", "0.15.1", "0.16.0", "0.17.0", "0.17.1", "0.18.0", "0.18.1"),
    *("0.19.0", "0.19.1", "0.20.0", "0.20.1", "0.20.2", "0.21.0", "0.22.0", "0.22.1", "0.23.0"),
    *("0.24.0", "0.25.0", "0.25.1", "0.26.0", "0.27.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0"),
    *("0.31.0", "0.32.0", "0.33.0"),
)
FIRST, NEWEST = RELEASES[0], RELEASES[-1]

SHUTDOWN_TIMEOUT = "0.18.0"
"""The first vLLM with ``--shutdown-timeout`` (vllm-project/vllm#36666)."""
QUIET_ACCESS_LOG = "0.16.0"
"""The first that can leave single paths out of its access log (vllm-project/vllm#30011)."""


def check(version: str) -> Iterator[Problem]:
    """What to know of a version that is not in the table: an error where the scripts would not work."""
    if parse(version) is None or not at_least(version, FIRST):
        yield Problem(
            f"vllm '{version}' is not known here: data parallelism by rank needs {FIRST} or later",
            key="engine.version",
            hint='version: "0.23.0", as `vllm --version` prints it on the nodes',
        )
    elif not at_least(NEWEST, version):
        yield unknown("vllm", version, f"newer than {NEWEST}, the newest known here", NEWEST)
    elif parse(version) not in map(parse, RELEASES):
        before, *_ = neighbours(version, RELEASES)
        yield unknown("vllm", version, "not a release that is known here", before)


def unknown(name: str, version: str, what: str, like: str) -> Problem:
    """Return a warning that names the release an unknown one is treated as."""
    return Problem(
        f"{name} {version} is {what}: scripts, flags and ports are written as for {like}",
        key="engine.version",
        hint="run `dplaunch check`: it asks the engine on the nodes which flags it takes",
        warning=True,
    )


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
