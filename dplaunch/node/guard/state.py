"""The state files of a process, and whether this guard may act on them."""

from __future__ import annotations

from . import proc
from .store import Folder, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .shapes import Exit, State

PROTOCOL = 2
_NEEDED = ("host", "boot", "phase", "tree", "started_at")
"""Keys of every protocol so far, beside ``guard`` and ``main``."""
_NEW = (
    *("version", "signal", "last_exit", "restart_count", "endpoints", "ready", "logs"),
    *("ports", "address", "stop", "fingerprint", "meta", "notes"),
)
"""Keys that we act on too, in a file of this protocol."""


def load_state(folder: Folder, name: str) -> State | None:
    """state.json of a process, if a guard of this protocol wrote it and nothing that we act on is missing."""
    found: Any = read_json(folder.proc(name, "state.json"))
    state: State | None = found if protocol_of(found) == PROTOCOL else None
    return state


def load_exit(folder: Folder, name: str) -> Exit | None:
    """exit.json of a process; None while it has not ended."""
    found: Any = read_json(folder.proc(name, "exit.json"))
    ended: Exit | None = found
    return ended


def protocol_of(found: dict[str, Any] | None) -> int:
    """The protocol of the guard that wrote a state file; 0 where it cannot be read.

    Protocol 1 wrote no number, but the same keys that we act on.
    """
    number = (found or {}).get("protocol", 1)
    if not isinstance(number, int) or number < 1:
        return 0
    if number > PROTOCOL:
        return number
    return number if is_whole(found, _NEW if number == PROTOCOL else ()) else 0


def is_whole(found: dict[str, Any] | None, more: tuple[str, ...] = ()) -> bool:
    """Whether a state file has the keys of all protocols so far, and ``more``."""
    if found is None:
        return False
    pairs = (found.get("guard"), found.get("main"))
    whole = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)  # noqa: PLR2004 - pid, start
    return whole and all(key in found for key in (*_NEEDED, *more))


def explain_protocol(name: str, protocol: int, version: str) -> tuple[str, str]:
    """Problem and hint for a process of another protocol: only the version that started it can stop it."""
    if version:
        release, wanted = f"dplaunch {version}", f"=={version}"
    elif protocol < PROTOCOL:
        release, wanted = "dplaunch 0.1", "<0.2"
    else:
        release, wanted = "a newer dplaunch", ""
    problem = f"{name} was started by {release} (guard protocol {protocol}, this version has {PROTOCOL})"
    return problem, f"stop it with that version: pipx run --spec 'dplaunch{wanted}' dplaunch down"


def guard_lives(state: State) -> bool:
    """Whether the guard that wrote this state is alive."""
    return proc.alive(*state["guard"])
