"""What the versions on all nodes mean: against the cluster file, the release's table, and each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dplaunch.engines import EngineFacts, adapter
from dplaunch.engines.facts import Software
from dplaunch.engines.versions import parse
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.probes.probe import Target
from dplaunch.probes.words import odd_ones, unread_finding

NAME = "engine.versions"
CANN = "CANN"
DRIVER, FIRMWARE, RANGES = "driver", "firmware", "firmware_ranges"
MACHINE = (DRIVER, FIRMWARE)
OTHERS = "the other nodes have"

_SOFTWARE = "run one image or one set of packages on all nodes, of the release that engine.version names"
_MACHINE = "bring driver and firmware of the nodes to one release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """One version that is not what it should be. ``whose`` and ``want``: who says otherwise, and what."""

    name: str
    have: str
    whose: str
    want: str
    level: Level

    def __str__(self) -> str:
        return f"{self.name} is {self.have or 'not installed'}, {self.whose} {self.want or 'none'}"


def judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    """At most one finding for the software and one for driver and firmware on each node."""
    if not targets:
        return
    adapted = adapter(targets[0].spec.engine.kind)
    wanted = adapted.software(targets[0].spec)
    names = (*adapted.facts.packages, *MACHINE)
    common = {name: odd_ones(_values(seen, name))[0] for name in names}
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        software = list(_software(adapted.facts, wanted, facts, common))
        machine = list(_machine(facts, common))
        yield from _told(node, software, _SOFTWARE)
        yield from _told(node, machine, _MACHINE)
        if not (software or machine or facts.get("unread")):
            shown = ", ".join(f"{name} {facts[name]}" for name in names if facts.get(name))
            yield Finding(probe=NAME, level=Level.OK, text=shown, node=node)


def _values(seen: Mapping[str, Facts], name: str) -> dict[str, str]:
    return {node: facts[name] for node, facts in seen.items() if name in facts}


def _told(node: str, slips: Sequence[Slip], remedy: str) -> Iterator[Finding]:
    if slips:
        level = Level.FAIL if any(slip.level is Level.FAIL for slip in slips) else Level.WARN
        text = "; ".join(map(str, slips))
        yield Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)


def _software(
    engine: EngineFacts, software: Sequence[Software], facts: Facts, common: Mapping[str, str | None]
) -> Iterator[Slip]:
    """``common``: what most nodes have. What somebody wants goes before it."""
    wanted = {one.name: one for one in software if one.wanted}
    own = wanted.get(engine.kind)
    is_own = own is None or _fits(facts.get(engine.kind, ""), own.versions)
    made_with = {one.name: one for one in software if not one.wanted and is_own}
    for name in engine.packages:
        if name not in facts:
            continue
        have, usual = facts[name], common[name] or ""
        if slip := _slip(engine, name, have, usual, wanted.get(name)):
            yield slip
        elif name in made_with and have == usual:
            yield from _untried(made_with[name], have)


def _slip(engine: EngineFacts, name: str, have: str, usual: str, wanted: Software | None) -> Slip | None:
    if wanted and not _fits(have, wanted.versions):
        level = Level.WARN if _is_development(have) else Level.FAIL
        return Slip(name=name, have=have, whose=wanted.whose, want=wanted.versions[0], level=level)
    if have == usual or (wanted and not _fits(usual, wanted.versions)):
        return None
    level = Level.FAIL if name in engine.must_agree else Level.WARN
    return Slip(name=name, have=have, whose=OTHERS, want=usual, level=level)


def _is_development(version: str) -> bool:
    """``0.1.dev1+g0f1c``: built from sources; which release it stands for cannot be told."""
    return ".dev" in version


def _fits(have: str, wanted: Iterable[str]) -> bool:
    """The same release; tables say more digits."""
    mine = _plain(have)
    for want in map(_plain, wanted):
        if mine == want or want.startswith(f"{mine}."):
            return True
        if (parsed := parse(mine)) is not None and parsed == parse(want):
            return True
    return False


def _plain(version: str) -> str:
    """Without the build: ``2.9.0+cpu``."""
    return version.partition("+")[0].strip().lower().removeprefix("v")


def _untried(made_with: Software, have: str) -> Iterator[Slip]:
    """A combination that the engine was not released with."""
    if have and not any(_released_with(have, want) for want in made_with.versions):
        want = " or ".join(made_with.versions)
        yield Slip(name=made_with.name, have=have, whose=made_with.whose, want=want, level=Level.WARN)


def _released_with(have: str, want: str) -> bool:
    mine, theirs = _plain(have), _plain(want)
    return mine == theirs or mine.startswith(f"{theirs}.")


def _machine(facts: Facts, common: Mapping[str, str | None]) -> Iterator[Slip]:
    ranges = facts.get(RANGES) or []
    version = facts.get(FIRMWARE, "")
    if version and ranges and not any(_within(version, low, high) for low, high in ranges):
        shown = " or ".join(f"{low} to {high}" for low, high in ranges)
        whose = f"driver {facts[DRIVER]} works with"
        yield Slip(name=FIRMWARE, have=version, whose=whose, want=shown, level=Level.FAIL)
        return
    for name in MACHINE:
        if name in facts and facts[name] != common[name]:
            want = common[name] or ""
            yield Slip(name=name, have=facts[name], whose=OTHERS, want=want, level=Level.WARN)


def _within(version: str, low: str, high: str) -> bool:
    """Bounds count as far as they go: 7.7.0.1.231 lies in 7.0.0 to 7.7.99."""
    mine, least, most = _numbers(version), _numbers(low), _numbers(high)
    return mine >= least and mine[: len(most)] <= most


def _numbers(version: str) -> tuple[int, ...]:
    parts: Iterable[str] = version.split(".")
    return tuple(int("".join(c for c in part if c in "0123456789")[:9] or 0) for part in parts)
