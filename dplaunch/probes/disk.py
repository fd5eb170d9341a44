"""``host.disk``: room where state and logs are written, in shared memory, and where the model lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import has_engines
from dplaunch.probes.words import answer, clean, unread, unread_finding
from dplaunch.words import GIB, format_bytes

NAME = "host.disk"
STATE_LEAST, STATE_GOOD = 1 * GIB, 5 * GIB
"""Scripts are small; logs of a node with sixteen engines grow by some hundred megabytes a day."""
SHM_LEAST = 1 * GIB
"""Workers of an engine hand each other data there. Containers get 64 MiB unless told otherwise."""

_EXISTING = (
    'while [ ! -e "$1" ] && [ "${1#/?}" != "$1" ]; do set -- "$(dirname "$1")"; done; exec df -Pk "$1"'
)
"""Of a folder that is yet to be made, the nearest above it that is there."""
_STATE = 'set -- "${XDG_STATE_HOME:-$HOME/.local/state}"; '
_LINE = re.compile(r"(\S.*?)\s+(\d{1,18})\s+(\d{1,18})\s+(-?\d{1,18})\s+(?:\d+%|-)\s+(/.*)")


def room(text: str) -> dict[str, int | str]:
    """Bytes in all and free, and the mount, of ``df -Pk`` for one path; empty for what is none."""
    for line in reversed(clean(text).splitlines()):
        if match := _LINE.fullmatch(line.strip()):
            free = max(0, int(match[4]) * 1024)
            return {"total": int(match[2]) * 1024, "free": free, "mount": match[5]}
    return {}


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del seen
    yield Command(key="state", argv=("sh", "-c", _STATE + _EXISTING))
    if has_engines(target):
        yield Command(key="shm", argv=("df", "-Pk", "/dev/shm"))  # noqa: S108 - asked, not written to
        if target.spec.weights.path:
            yield Command(key="model", argv=("sh", "-c", _EXISTING, "sh", target.spec.weights.path))


def _parse(target: Target, outputs: Outputs) -> Facts:
    del target
    rooms = {key: room(output.out) if output.code == 0 else {} for key, output in outputs.items()}
    facts: dict[str, object] = {key: found for key, found in rooms.items() if found}
    missing = [unread(key, answer(outputs, key)) for key, found in rooms.items() if not found]
    return {**facts, "unread": missing} if missing else facts


def _judge(targets: Iterable[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    del targets
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        short = list(_short(facts))
        for level, text, remedy in short:
            yield Finding(probe=NAME, level=level, text=text, node=node, remedy=remedy)
        if not short and not facts.get("unread"):
            figures = (
                f"{key} {format_bytes(facts[key]['free'])}"
                for key in ("state", "shm", "model")
                if key in facts
            )
            yield Finding(probe=NAME, level=Level.OK, text=f"free: {', '.join(figures)}", node=node)


def _short(facts: Facts) -> Iterator[tuple[Level, str, str]]:
    """Level, text and remedy of each place with too little room."""
    state, shm = facts.get("state"), facts.get("shm")
    if state and state["free"] < STATE_GOOD:
        level = Level.FAIL if state["free"] < STATE_LEAST else Level.WARN
        text = (
            f"only {format_bytes(state['free'])} free on {state['mount']}, where state and logs are written"
        )
        yield level, text, f"make room on {state['mount']}, or point XDG_STATE_HOME to another disk"
    if shm and shm["total"] < SHM_LEAST:
        text = f"all of /dev/shm is {format_bytes(shm['total'])}, too little for engines with several workers"
        yield Level.WARN, text, "start the container with --shm-size=16g or --ipc=host"
    elif shm and shm["free"] < SHM_LEAST:
        text = f"only {format_bytes(shm['free'])} of {format_bytes(shm['total'])} free in /dev/shm"
        yield Level.WARN, text, "remove from /dev/shm what dead processes left there"


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge)
