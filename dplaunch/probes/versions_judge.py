"""What the versions on all nodes mean: against the cluster file, the release's table, and each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dplaunch.engines.ascend import releases
from dplaunch.engines.ascend.releases import CANN_TOO, Release
from dplaunch.engines.versions import parse
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.model.cluster import EngineSpec
from dplaunch.probes.probe import Target
from dplaunch.probes.words import odd_ones, unread_finding

NAME = "engine.versions"
VLLM, VLLM_ASCEND, CANN, TORCH, TORCH_NPU = "vllm", "vllm-ascend", "CANN", "torch", "torch_npu"
DRIVER, FIRMWARE, RANGES = "driver", "firmware", "firmware_ranges"
NAMES = (VLLM_ASCEND, VLLM, CANN, TORCH, TORCH_NPU, "transformers", "mooncake", DRIVER, FIRMWARE)
MUST_AGREE = (VLLM_ASCEND, VLLM, CANN, TORCH_NPU)
MACHINE = (DRIVER, FIRMWARE)
OTHERS, FILE = "the other nodes have", "the cluster file says"

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
    engine = targets[0].spec.engine
    common = {name: odd_ones(_values(seen, name))[0] for name in NAMES}
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        software = list(_software(engine, facts, common))
        machine = list(_machine(facts, common))
        yield from _told(node, software, _SOFTWARE)
        yield from _told(node, machine, _MACHINE)
        if not (software or machine or facts.get("unread")):
            shown = ", ".join(f"{name} {facts[name]}" for name in NAMES if facts.get(name))
            yield Finding(probe=NAME, level=Level.OK, text=shown, node=node)


def _values(seen: Mapping[str, Facts], name: str) -> dict[str, str]:
    return {node: facts[name] for node, facts in seen.items() if name in facts}


def _told(node: str, slips: Sequence[Slip], remedy: str) -> Iterator[Finding]:
    if slips:
        level = Level.FAIL if any(slip.level is Level.FAIL for slip in slips) else Level.WARN
        text = "; ".join(map(str, slips))
        yield Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)


def _software(engine: EngineSpec, facts: Facts, common: Mapping[str, str | None]) -> Iterator[Slip]:
    wanted = _wanted(engine)
    release = _release(engine, facts.get(VLLM_ASCEND, ""))
    for name in NAMES:
        if name not in facts or name in MACHINE:
            continue
        have, usual = facts[name], common[name] or ""
        if slip := _slip(name, have, usual, wanted.get(name)):
            yield slip
        elif release and have == usual:
            yield from _untried(release, name, have)


def _wanted(engine: EngineSpec) -> dict[str, tuple[str, str]]:
    """What engine.version decides: name → version, and who wants it."""
    wanted: dict[str, tuple[str, str]] = {engine.kind: (engine.version, FILE)}
    release = releases.find(engine.version) if engine.kind == VLLM_ASCEND else None
    if release:
        wanted[VLLM] = (release.vllm, f"vllm-ascend {engine.version} wants")
    return wanted


def _release(engine: EngineSpec, installed: str) -> Release | None:
    """The one installed, where it is the one that should be."""
    return releases.find(installed) if _fits(installed, engine.version) else None


def _slip(name: str, have: str, usual: str, wanted: tuple[str, str] | None) -> Slip | None:
    """``usual``: what most nodes have. What the cluster file wants goes before it."""
    if wanted and not _fits(have, wanted[0]):
        level = Level.WARN if _is_development(have) else Level.FAIL
        return Slip(name=name, have=have, whose=wanted[1], want=wanted[0], level=level)
    if have == usual or (wanted and not _fits(usual, wanted[0])):
        return None
    return _differing(name, have, usual)


def _is_development(version: str) -> bool:
    """``0.1.dev1+g0f1c``: built from sources; which release it stands for cannot be told."""
    return ".dev" in version


def _fits(have: str, want: str) -> bool:
    """The same release. ``0.10.1rc1`` fits 0.10.1 where only candidates exist; tables say more digits."""
    mine, theirs = _plain(have), _plain(want)
    if mine == theirs or theirs.startswith(f"{mine}."):
        return True
    parsed = parse(mine)
    meant = releases.find(theirs)
    return parsed is not None and (parsed == parse(theirs) or (meant is not None and meant.version == mine))


def _plain(version: str) -> str:
    """Without the build: ``2.9.0+cpu``."""
    return version.partition("+")[0].strip().lower().removeprefix("v")


def _differing(name: str, have: str, usual: str) -> Slip:
    level = Level.FAIL if name in MUST_AGREE else Level.WARN
    return Slip(name=name, have=have, whose=OTHERS, want=usual, level=level)


def _untried(release: Release, name: str, have: str) -> Iterator[Slip]:
    """A combination that this vllm-ascend was not released with."""
    table = {
        CANN: (release.cann, *CANN_TOO.get(release.version, ())),
        TORCH: (release.torch,),
        TORCH_NPU: (release.torch_npu,),
    }
    wanted = [want for want in table.get(name, ()) if want]
    if wanted and have and not any(_released_with(have, want) for want in wanted):
        whose = f"vllm-ascend {release.version} was released with"
        yield Slip(name=name, have=have, whose=whose, want=" or ".join(wanted), level=Level.WARN)


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
            yield _differing(name, facts[name], common[name] or "")


def _within(version: str, low: str, high: str) -> bool:
    """Bounds count as far as they go: 7.7.0.1.231 lies in 7.0.0 to 7.7.99."""
    mine, least, most = _numbers(version), _numbers(low), _numbers(high)
    return mine >= least and mine[: len(most)] <= most


def _numbers(version: str) -> tuple[int, ...]:
    parts: Iterable[str] = version.split(".")
    return tuple(int("".join(c for c in part if c in "0123456789")[:9] or 0) for part in parts)
