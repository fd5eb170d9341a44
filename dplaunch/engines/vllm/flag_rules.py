"""Flags of a cluster file, or of a user's script, that this vLLM does not have or does not take so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from msgspec.structs import replace

from dplaunch.engines.rules import arguments
from dplaunch.engines.vllm.flagtable import Flag, Flags, broken_json, faults
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
    head, _, below = name.partition(".")
    if any(not row.lives(engine.version) for row in engine.rows(FLAG).get(head, ())):
        return
    flag = known.find(head) if known else None
    source = f"vLLM {known.version if known else engine.version}, vllm/engine/arg_utils.py"
    if known and flag is None:
        yield _unknown(known, engine, head, source)
        return
    for fault in _faults(flag, engine, head, below, value):
        hint = f"correct the value of {name}"
        if "JSON" in fault:
            hint = "write it as keys with values, without quotes around the whole"
        elif flag and flag.choices:
            hint = did_you_mean(str(value), flag.choices) or hint
        yield Problem(f"{name} {fault}: {engine} refuses it", hint=hint, source=source)


def _faults(flag: Flag | None, engine: Engine, head: str, below: str, value: ArgValue) -> Iterator[str]:
    if flag is None:
        yield from broken_json(value)
    elif below:
        if flag.kind not in ("json", "any"):
            yield f"does not exist: {head} takes a single value"
    elif engine.name != "vllm-ascend" or value not in PLUGGED.get(head, ()):
        yield from faults(flag, value)


def _unknown(known: Flags, engine: Engine, name: str, source: str) -> Problem:
    near = known.nearest(name)
    hint = f"did you mean {near}?" if near else "`vllm serve --help=all` on a node lists its flags"
    return Problem(f"{engine} has no flag --{name}", hint=hint, warning=not known.sure, source=source)


def did_you_mean(value: str, choices: Collection[str]) -> str:
    """A hint that names the closest choice; empty where none is close."""
    close = [name for name in choices if name.startswith(value)] or get_close_matches(value, choices, n=1)
    return f"did you mean {close[0]}?" if close else ""
