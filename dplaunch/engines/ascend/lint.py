"""What this vllm-ascend does not take: its switches, keys of ``--additional-config``, flags of its proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from dplaunch.engines.ascend.env import CONTRACT_A_ONLY
from dplaunch.engines.ascend.releases import NEWEST
from dplaunch.engines.ascend.switches import ASCEND, ASCEND_PROXY, FAMILIES, NOTES, SECTIONS
from dplaunch.engines.rules import arguments, warning
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm import lint
from dplaunch.engines.vllm.lint import CONFIG, Engine, as_map, successor, warn
from dplaunch.engines.vllm.switches import KEY, PROXY
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec

STRICT = {"eplb_config": "0.14.0rc1", "short_request_first_config": "0.24.0rc1"}
"""Sections that refuse keys they do not know, and since when."""

_CLOSE = 0.86
"""How similar an unknown key must be to a known one: more than for our own keys, as engines have more."""


def ascend(version: str) -> Engine:
    """vllm-ascend, with vLLM below it."""
    return Engine("vllm-ascend", version, (*ASCEND, *ASCEND_PROXY), FAMILIES, NOTES)


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Every switch of the file that this engine does not take, at its place."""
    yield from lint.check(spec, engine, CONTRACT_A_ONLY)
    yield from _config(spec, engine)
    yield from _proxy(spec, engine)


def _proxy(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    if spec.router is None or spec.router.kind != "vllm-ascend":
        return
    rows = engine.rows(PROXY)
    for name in spec.router.args:
        for row in rows.get(name, ()):
            yield from warn(row, engine, f"router.args.{name}")


def _config(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Keys of ``--additional-config``: the engine silently ignores what it does not know."""
    for place, args in arguments(spec):
        for flag, value in args.items():
            head, _, below = flag.partition(".")
            if head == CONFIG:
                for name in keys({below: value} if below else as_map(value)):
                    at = f"{place}.{flag}" if below or isinstance(value, str) else f"{place}.{flag}.{name}"
                    yield from warn_key(name, engine, at)


def keys(config: Mapping[str, ArgValue]) -> Iterator[str]:
    """Keys of ``--additional-config``, sections' own as ``section.key``."""
    for name, value in config.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in value)


def warn_key(name: str, engine: Engine, place: str) -> Iterator[Problem]:
    """Yield warnings about one key of ``--additional-config``."""
    rows = engine.rows(KEY)
    section, _, inner = name.rpartition(".")
    dead = any(not row.lives(engine.version) for row in rows.get(section, ()))
    for row in rows.get(name, ()):
        # inside a section that is gone itself only what has a successor is worth a word
        if not dead or successor(row, engine):
            yield from warn(row, engine, place)
    if name not in rows and not dead:
        yield from _unknown(section, inner, engine, place)


def _unknown(section: str, inner: str, engine: Engine, place: str) -> Iterator[Problem]:
    """A key that no table has: what it may have meant, if that is all but certain."""
    if not at_least(NEWEST, engine.version):
        return
    known = SECTIONS.get(section, ()) if section else _living(engine)
    refused = section in STRICT and at_least(engine.version, STRICT[section])
    if inner in known:
        return
    close = get_close_matches(inner, known, n=1, cutoff=_CLOSE)
    if refused or close:
        effect = "is refused by" if refused else "is not known to"
        after = "" if refused else ", which silently ignores it"
        yield warning(
            f"{CONFIG} {section + '.' if section else ''}{inner} {effect} {engine}{after}",
            place,
            f"did you mean '{close[0]}'?" if close else f"it takes: {', '.join(known)}",
            f"vllm-ascend v{engine.version}, vllm_ascend/ascend_config.py",
        )


def _living(engine: Engine) -> tuple[str, ...]:
    rows = engine.rows(KEY)
    return tuple(name for name, all_of in rows.items() if "." not in name and all_of[0].lives(engine.version))
