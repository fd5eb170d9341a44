"""What a cluster file gives an engine version that does not take it: warnings from the table of switches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from dplaunch.engines.ascend_env import CONTRACT_A_ONLY
from dplaunch.engines.connectors import names
from dplaunch.engines.rules import arguments, environments
from dplaunch.engines.switches import (
    ASCEND,
    ASCEND_PROXY,
    ENV,
    FAMILIES,
    FLAG,
    KEY,
    NEVER,
    NOTES,
    PROXY,
    REFUSED,
    RESET,
    SECTIONS,
    VLLM,
    Switch,
)
from dplaunch.engines.versions import NEWEST_ASCEND, at_least
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec

CONFIG = "additional-config"
STRICT = ("eplb_config", "0.14.0rc1")
"""The section that refuses keys it does not know, and since when."""

_CLOSE = 0.86
"""How alike an unknown key must be to a known one: higher than for our own keys, since engines have more."""

_COMMA = "vllm-ascend v0.23.0, large_scale_ep.md: a comma after the last entry, which vllm serve refuses"


@dataclass(frozen=True, slots=True)
class Engine:
    """Who reads the file: a name, its version, and the switches it has or had."""

    name: str
    version: str
    table: tuple[Switch, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def rows(self, *kinds: str) -> Mapping[str, tuple[Switch, ...]]:
        """Switches by name; one may have several: gone upstream, reset by a plugin."""
        return _by_name(self.table, kinds)


@cache
def _by_name(table: tuple[Switch, ...], kinds: tuple[str, ...]) -> Mapping[str, tuple[Switch, ...]]:
    found: dict[str, tuple[Switch, ...]] = {}
    for row in table:
        if row.kind in kinds:
            found[row.name] = (*found.get(row.name, ()), row)
    return found


def ascend(version: str) -> Engine:
    """vllm-ascend."""
    return Engine("vllm-ascend", version, (*ASCEND, *ASCEND_PROXY))


def vllm(version: str) -> Engine:
    """The same for vLLM alone."""
    return Engine("vllm", version, VLLM)


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Every switch of the file that this engine does not take, at its place."""
    yield from _variables(spec, engine)
    yield from _flags(spec, engine)
    yield from _config(spec, engine)
    yield from _proxy(spec, engine)


def _variables(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    rows, connectors = engine.rows(ENV), names(spec.kv_transfer)
    for place, env in environments(spec):
        for name in env:
            for row in rows.get(name, ()):
                # those of 0.9.1's data parallelism are errors already
                kept = row.kept_by and row.kept_by in connectors
                if name not in CONTRACT_A_ONLY and not kept:
                    yield from told(row, engine, f"{place}.{name}")


def _flags(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    rows = engine.rows(FLAG)
    for place, args in arguments(spec):
        for name, value in args.items():
            if value is None or value is False:
                continue
            for row in rows.get(name, ()):
                yield from told(row, engine, f"{place}.{name}")
            if isinstance(value, str) and value.lstrip().startswith("{"):
                yield from _json(name, value, f"{place}.{name}")


def _proxy(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    if spec.router is None or spec.router.kind != "vllm-ascend":
        return
    rows = engine.rows(PROXY)
    for name in spec.router.args:
        for row in rows.get(name, ()):
            yield from told(row, engine, f"router.args.{name}")


def _json(name: str, text: str, key: str) -> Iterator[Problem]:
    try:
        json.loads(text)
    except ValueError as error:
        yield Problem(
            f"{name} is not JSON ({error}): vllm serve refuses it",
            key=key,
            hint="write it as keys with values, without quotes around the whole",
            source=_COMMA,
            warning=True,
        )


def _config(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Keys of ``--additional-config``: the engine ignores what it does not know, without a word."""
    if not engine.rows(KEY):
        return
    for place, args in arguments(spec):
        for flag, value in args.items():
            head, _, below = flag.partition(".")
            if head == CONFIG:
                for name in keys({below: value} if below else as_map(value)):
                    at = f"{place}.{flag}" if below or isinstance(value, str) else f"{place}.{flag}.{name}"
                    yield from key_told(name, engine, at)


def keys(config: Mapping[str, ArgValue]) -> Iterator[str]:
    """Keys of ``--additional-config``, sections' own as ``section.key``."""
    for name, value in config.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in value)


def as_map(value: ArgValue) -> Mapping[str, ArgValue]:
    """A map given as such or as JSON text; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def key_told(name: str, engine: Engine, place: str) -> Iterator[Problem]:
    """What there is to say about a key of ``--additional-config``."""
    rows = engine.rows(KEY)
    section, _, inner = name.rpartition(".")
    dead = any(not row.lives(engine.version) for row in rows.get(section, ()))
    for row in rows.get(name, ()):
        # inside a section that is gone itself only what has a successor is worth a word
        if not dead or _successor(row, engine):
            yield from told(row, engine, place)
    if name not in rows and not dead:
        yield from _unknown(section, inner, engine, place)


def told(row: Switch, engine: Engine, place: str) -> Iterator[Problem]:
    """The warning about a switch that this version does not take."""
    if row.lives(engine.version):
        return
    yield Problem(
        f"{shown(row)} {_effect(row)} {engine}: {_why(row, engine)}",
        key=place,
        hint=_hint(row, engine),
        source=row.source,
        warning=True,
    )


def shown(row: Switch) -> str:
    """How users write it."""
    return {FLAG: "--", PROXY: "the proxy's --", KEY: f"{CONFIG} ", ENV: ""}[row.kind] + row.name


def _effect(row: Switch) -> str:
    unnoticed = "is ignored without a word by" if row.kind == KEY else "does nothing in"
    return {REFUSED: "is refused by", RESET: "is switched off by"}.get(row.effect, unnoticed)


def _why(row: Switch, engine: Engine) -> str:
    if row.gone == NEVER:
        return "no version has it" if row.effect == REFUSED else "no version reads it"
    if not row.begun(engine.version):
        return f"it is known from {_version(row.first)} on"
    if row.effect == RESET:
        return f"so it is from {_version(row.gone)} on"
    return f"it is gone from {_version(row.gone)} on"


def _version(bound: str) -> str:
    return bound.removesuffix("rc0")


def _hint(row: Switch, engine: Engine) -> str:
    successor = _successor(row, engine)
    if successor is None:
        return row.instead or "remove it"
    note = NOTES.get(successor.name)
    return f"use {_written(successor)} instead" + (f" ({note})" if note else "")


def _written(row: Switch) -> str:
    if row.kind == ENV:
        return f"{row.name} in env"
    *sections, key = row.name.split(".")
    return (
        f"{CONFIG}: " + "".join(f"{{{name}: " for name in (*sections, key)) + "…" + "}" * (len(sections) + 1)
    )


def _successor(row: Switch, engine: Engine) -> Switch | None:
    """The last of the same thing's names that this version reads."""
    family = next((family for family in FAMILIES if row.name in family), ())
    rows = engine.rows(ENV, KEY)
    alive = (row for name in family for row in rows.get(name, ()) if row.lives(engine.version))
    return max(alive, key=lambda row: family.index(row.name), default=None)


def _unknown(section: str, inner: str, engine: Engine, place: str) -> Iterator[Problem]:
    """A key that no table has: what it may have meant, if that is all but certain."""
    if not at_least(NEWEST_ASCEND, engine.version):
        return
    known = SECTIONS.get(section, ()) if section else _living(engine)
    refused = section == STRICT[0] and at_least(engine.version, STRICT[1])
    if inner in known:
        return
    close = get_close_matches(inner, known, n=1, cutoff=_CLOSE)
    if refused or close:
        effect = "is refused by" if refused else "is not known to"
        after = "" if refused else ", which ignores it without a word"
        yield Problem(
            f"{CONFIG} {section + '.' if section else ''}{inner} {effect} {engine}{after}",
            key=place,
            hint=f"did you mean '{close[0]}'?" if close else f"it takes: {', '.join(known)}",
            source=f"vllm-ascend v{engine.version}, vllm_ascend/ascend_config.py",
            warning=True,
        )


def _living(engine: Engine) -> tuple[str, ...]:
    rows = engine.rows(KEY)
    return tuple(name for name, all_of in rows.items() if "." not in name and all_of[0].lives(engine.version))
