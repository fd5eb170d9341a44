"""Flags of a cluster file, or of a user's script, that this vLLM does not have or does not take so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from dplaunch.engines import flag_rules
from dplaunch.engines.flag_rules import Parser
from dplaunch.engines.flagtable import Flags
from dplaunch.engines.rules import arguments
from dplaunch.engines.vllm.flagtable import flags as flags_of
from dplaunch.engines.vllm.lint import Engine
from dplaunch.engines.vllm.switches import FLAG
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec

PLUGGED: Mapping[str, Collection[str]] = {"quantization": ("ascend", "compressed-tensors")}
"""Choices that vllm-ascend adds (``vllm_ascend/platform.py``: ``pre_register_and_update``)."""


def check(spec: ClusterSpec, engine: Engine, version: str) -> Iterator[Problem]:
    """Every flag of the file, at its place; ``version`` is that of the vLLM in the engine."""
    known = flags_of(version)
    for place, args in arguments(spec):
        for name, value in args.items():
            for problem in judge(known, engine, name, value):
                yield replace(problem, key=f"{place}.{name}")


def judge(known: Flags | None, engine: Engine, name: str, value: ArgValue) -> Iterator[Problem]:
    """One flag: whether the engine has it, and takes this value."""
    head, _, _ = name.partition(".")
    if any(not row.lives(engine.version) for row in engine.rows(FLAG).get(head, ())):
        return
    parser = Parser(
        engine=str(engine),
        known=known,
        source=f"vLLM {known.version if known else engine.version}, vllm/engine/arg_utils.py",
        listing="`vllm serve --help=all` on a node lists its flags",
        dotted=True,
        plugged=PLUGGED if engine.name == "vllm-ascend" else {},
    )
    yield from flag_rules.judge(parser, name, value)
