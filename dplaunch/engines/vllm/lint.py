"""What a cluster file gives an engine version that does not take it: warnings from a table of switches."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache

from msgspec import Struct, field

from dplaunch.engines.rules import arguments, environments
from dplaunch.engines.vllm.switches import ENV, FLAG, KEY, NEVER, PROXY, REFUSED, RESET, VLLM, Switch
from dplaunch.engines.vllm.transfer import names
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec

CONFIG = "additional-config"
"""The flag whose keys a plugin reads."""


class Engine(Struct, frozen=True):
    """Who reads the file: a name, its version, and the switches it has or had."""

    name: str
    version: str
    table: tuple[Switch, ...]
    families: tuple[tuple[str, ...], ...] = ()
    """Names that one thing had through the versions, in order."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What to know when a switch is to be used."""

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


def vllm(version: str) -> Engine:
    """VLLM alone."""
    return Engine("vllm", version, VLLM)


def check(spec: ClusterSpec, engine: Engine, settled: Collection[str] = ()) -> Iterator[Problem]:
    """Every variable and flag of the file that this engine does not take, at its place.

    ``settled``: variables that another rule refuses.
    """
    yield from _variables(spec, engine, settled)
    yield from _flags(spec, engine)


def _variables(spec: ClusterSpec, engine: Engine, settled: Collection[str]) -> Iterator[Problem]:
    rows, connectors = engine.rows(ENV), names(spec.kv_transfer)
    for place, env in environments(spec):
        for name in env:
            for row in rows.get(name, ()):
                if name not in settled and not row.kept(engine.version, connectors):
                    yield from warn(row, engine, f"{place}.{name}")


def _flags(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    rows = engine.rows(FLAG)
    for place, args in arguments(spec):
        for name, value in args.items():
            if value is None or value is False:
                continue
            for row in rows.get(name, ()):
                yield from warn(row, engine, f"{place}.{name}")


def as_map(value: ArgValue) -> Mapping[str, ArgValue]:
    """A map given as such or as JSON text; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def warn(row: Switch, engine: Engine, place: str) -> Iterator[Problem]:
    """Yield a warning if this version does not take the switch; an error where it refuses to start."""
    if row.lives(engine.version):
        return
    text = f"{spell(row)} {_effect(row)} {engine}: {_why(row, engine)}"
    yield Problem(text, key=place, hint=_hint(row, engine), warning=row.effect != REFUSED, source=row.source)


def spell(row: Switch) -> str:
    """Return the switch as users write it."""
    return {FLAG: "--", PROXY: "the proxy's --", KEY: f"{CONFIG} ", ENV: ""}[row.kind] + row.name


def _effect(row: Switch) -> str:
    unnoticed = "is silently ignored by" if row.kind == KEY else "does nothing in"
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
    living = successor(row, engine)
    if living is None:
        return row.instead or "remove it"
    note = engine.notes.get(living.name)
    return f"use {_written(living)} instead" + (f" ({note})" if note else "")


def _written(row: Switch) -> str:
    if row.kind == ENV:
        return f"{row.name} in env"
    *sections, key = row.name.split(".")
    return (
        f"{CONFIG}: " + "".join(f"{{{name}: " for name in (*sections, key)) + "…" + "}" * (len(sections) + 1)
    )


def successor(row: Switch, engine: Engine) -> Switch | None:
    """The last of the same thing's names that this version reads."""
    family = next((family for family in engine.families if row.name in family), ())
    rows = engine.rows(ENV, KEY)
    alive = (row for name in family for row in rows.get(name, ()) if row.lives(engine.version))
    return max(alive, key=lambda row: family.index(row.name), default=None)
