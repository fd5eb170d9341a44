"""``host.disk``: free space for state and logs, in shared memory, and in the folder of the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.words import GIB, format_bytes

NAME = "host.disk"
STATE_LEAST, STATE_GOOD = 1 * GIB, 5 * GIB
"""Scripts are small; the logs of a node with sixteen engines grow by some hundred megabytes a day."""
SHM = "/dev/shm"  # noqa: S108 - only read
SHM_LEAST = 1 * GIB
"""The workers of an engine exchange data there. A container gets 64 MiB by default."""

_EXISTING = (
    'while [ ! -e "$1" ] && [ "${1#/?}" != "$1" ]; do set -- "$(dirname "$1")"; done; exec df -Pk "$1"'
)
"""For a folder that does not exist yet, take the nearest existing one above it."""
_STATE = 'set -- "${XDG_STATE_HOME:-$HOME/.local/state}"; '
_LINE = re.compile(r"(\S.*?)\s+(\d{1,18})\s+(\d{1,18})\s+(-?\d{1,18})\s+(?:\d+%|-)\s+(/.*)")


def parse_df(text: str) -> dict[str, int | str]:
    """Return ``total`` and ``free`` bytes and ``mount`` of ``df -Pk``; nothing for other texts."""
    for line in reversed(clean(text).splitlines()):
        if match := _LINE.fullmatch(line.strip()):
            free = max(0, int(match[4]) * 1024)
            return {"total": int(match[2]) * 1024, "free": free, "mount": match[5]}
    return {}


def _commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
    yield Command(key="state", argv=("sh", "-c", _STATE + _EXISTING))
    if target.has_engines:
        yield Command(key="shm", argv=("df", "-Pk", SHM))
        if target.spec.weights.path:
            yield Command(key="model", argv=("sh", "-c", _EXISTING, "sh", target.spec.weights.path))


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    found = {key: parse_df(output.out) if output.code == 0 else {} for key, output in outputs.items()}
    facts: dict[str, object] = {key: place for key, place in found.items() if place}
    missing = [describe_unread(key, find_output(outputs, key)) for key, place in found.items() if not place]
    return {**facts, "unread": missing} if missing else facts


def _compare(_: Iterable[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    for node, facts in seen.items():
        short = list(_find_short(facts))
        for level, text, remedy in short:
            yield Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)
        if not short and not facts.get("unread"):
            figures = (
                f"{key} {format_bytes(facts[key]['free'])}"
                for key in ("state", "shm", "model")
                if key in facts
            )
            yield Finding(probe=NAME, level=Level.OK, text=f"free: {', '.join(figures)}", node=node)


def _find_short(facts: Facts) -> Iterator[tuple[Level, str, str]]:
    """Yield level, text and remedy for each place with too little space."""
    state, shm = facts.get("state"), facts.get("shm")
    if state and state["free"] < STATE_GOOD:
        level = Level.FAIL if state["free"] < STATE_LEAST else Level.WARN
        free = format_bytes(state["free"])
        text = f"only {free} free on {state['mount']}, where state and logs are written"
        yield level, text, f"free space on {state['mount']}, or set XDG_STATE_HOME to another disk"
    if shm and shm["total"] < SHM_LEAST:
        text = f"{SHM} has only {format_bytes(shm['total'])}, too little for engines with several workers"
        yield Level.WARN, text, "start the container with --shm-size=16g or --ipc=host"
    elif shm and shm["free"] < SHM_LEAST:
        text = f"only {format_bytes(shm['free'])} of {format_bytes(shm['total'])} free in {SHM}"
        yield Level.WARN, text, f"remove the files that ended processes have left in {SHM}"


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare)
