"""Judges the versions on all nodes: by the cluster file, by the table of releases, and by each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from dplaunch.engines import EngineFacts, adapter
from dplaunch.engines.facts import Software
from dplaunch.engines.versions import parse
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.probes.findings import find_outliers
from dplaunch.probes.probe import ProbeTarget

NAME = "engine.versions"
CANN = "CANN"
DRIVER, FIRMWARE, RANGES = "driver", "firmware", "firmware_ranges"
MACHINE = (DRIVER, FIRMWARE)
OTHERS = "most nodes have"

_SOFTWARE = "use one image or one set of packages on all nodes, that of the release in engine.version"
_MACHINE = "install the same release of driver and firmware on all nodes"


class WrongVersion(Struct, frozen=True, kw_only=True):
    """A version that is not as it should be. ``whose`` asks for ``want`` (``most nodes have`` 2.9.0)."""

    name: str
    have: str
    whose: str
    want: str
    level: Level

    def __str__(self) -> str:
        return f"{self.name} is {self.have or 'not installed'}, but {self.whose} {self.want or 'none'}"


def compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    """Yield at most one finding about the software and one about driver and firmware for each node."""
    adapted = adapter(targets[0].spec.engine.kind)
    wanted = adapted.software(targets[0].spec)
    names = (*adapted.facts.packages, *MACHINE)
    common = {name: find_outliers({n: f[name] for n, f in seen.items() if name in f})[0] for name in names}
    for node, facts in seen.items():
        software = list(_check_software(adapted.facts, wanted, facts, common))
        machine = list(_check_machine(facts, common))
        yield from _report(node, software, _SOFTWARE)
        yield from _report(node, machine, _MACHINE)
        if not (software or machine or facts.get("unread")):
            text = ", ".join(f"{name} {facts[name]}" for name in names if facts.get(name))
            yield Finding(probe=NAME, level=Level.OK, text=text, node=node)


def _report(node: str, wrong: Sequence[WrongVersion], remedy: str) -> Iterator[Finding]:
    if wrong:
        level = Level.FAIL if any(one.level is Level.FAIL for one in wrong) else Level.WARN
        text = "; ".join(map(str, wrong))
        yield Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)


def _check_software(
    engine: EngineFacts, software: Sequence[Software], facts: Facts, common: Mapping[str, str | None]
) -> Iterator[WrongVersion]:
    """``common``: the version on most nodes, which counts less than a wanted version."""
    wanted = {one.name: one for one in software if one.wanted}
    own = wanted.get(engine.kind)
    is_own = own is None or _fits(facts.get(engine.kind, ""), own.versions)
    made_with = {one.name: one for one in software if not one.wanted and is_own}
    for name in engine.packages:
        if name not in facts:
            continue
        have, usual = facts[name], common[name] or ""
        if wrong := _check_version(engine, name, have, usual, wanted.get(name)):
            yield wrong
        elif name in made_with and have == usual:
            yield from _check_combination(made_with[name], have)


def _check_version(
    engine: EngineFacts, name: str, have: str, usual: str, wanted: Software | None
) -> WrongVersion | None:
    if wanted and not _fits(have, wanted.versions):
        level = Level.WARN if _is_development(have) else Level.FAIL
        return WrongVersion(name=name, have=have, whose=wanted.whose, want=wanted.versions[0], level=level)
    if have == usual or (wanted and not _fits(usual, wanted.versions)):
        return None
    level = Level.FAIL if name in engine.must_agree else Level.WARN
    return WrongVersion(name=name, have=have, whose=OTHERS, want=usual, level=level)


def _is_development(version: str) -> bool:
    """``0.1.dev1+g0f1c`` is built from sources; its release is unknown."""
    return ".dev" in version


def _fits(have: str, wanted: Iterable[str]) -> bool:
    """Whether it is one of the wanted releases, which may have more digits."""
    mine = _plain(have)
    for want in map(_plain, wanted):
        if mine == want or want.startswith(f"{mine}."):
            return True
        if (parsed := parse(mine)) is not None and parsed == parse(want):
            return True
    return False


def _plain(version: str) -> str:
    """Return the version without its build (``2.9.0+cpu`` → ``2.9.0``)."""
    return version.partition("+")[0].strip().lower().removeprefix("v")


def _check_combination(made_with: Software, have: str) -> Iterator[WrongVersion]:
    """Find a version with which the engine was not released."""
    if have and not any(_released_with(have, want) for want in made_with.versions):
        want = " or ".join(made_with.versions)
        yield WrongVersion(name=made_with.name, have=have, whose=made_with.whose, want=want, level=Level.WARN)


def _released_with(have: str, want: str) -> bool:
    mine, theirs = _plain(have), _plain(want)
    return mine == theirs or mine.startswith(f"{theirs}.")


def _check_machine(facts: Facts, common: Mapping[str, str | None]) -> Iterator[WrongVersion]:
    ranges = facts.get(RANGES) or []
    version = facts.get(FIRMWARE, "")
    if version and ranges and not any(_within(version, low, high) for low, high in ranges):
        fitting = " or ".join(f"{low} to {high}" for low, high in ranges)
        whose = f"driver {facts[DRIVER]} works with"
        yield WrongVersion(name=FIRMWARE, have=version, whose=whose, want=fitting, level=Level.FAIL)
        return
    for name in MACHINE:
        if name in facts and facts[name] != common[name]:
            want = common[name] or ""
            yield WrongVersion(name=name, have=facts[name], whose=OTHERS, want=want, level=Level.WARN)


def _within(version: str, low: str, high: str) -> bool:
    """Only the digits of a bound count: 7.7.0.1.231 is within 7.0.0 to 7.7.99."""
    mine, least, most = _split(version), _split(low), _split(high)
    return mine >= least and mine[: len(most)] <= most


def _split(version: str) -> tuple[int, ...]:
    parts: Iterable[str] = version.split(".")
    return tuple(int("".join(c for c in part if c in "0123456789")[:9] or 0) for part in parts)
