"""The state files of a process, and whether they can be acted on."""

from __future__ import annotations

from . import proc
from .store import Folder, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .shapes import Exit, State

_NEEDED = ("host", "boot", "phase", "tree", "started_at")


def load_state(folder: Folder, name: str) -> State | None:
    """state.json of a process; None where it is missing, or lacks a key that we act on."""
    found: Any = read_json(folder.proc(name, "state.json"))
    state: State | None = found if found is not None and _is_whole(found) else None
    return state


def load_exit(folder: Folder, name: str) -> Exit | None:
    """exit.json of a process; None while it has not ended."""
    found: Any = read_json(folder.proc(name, "exit.json"))
    ended: Exit | None = found
    return ended


def _is_whole(found: dict[str, Any]) -> bool:
    pairs = (found.get("guard"), found.get("main"))
    whole = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)  # noqa: PLR2004 - pid, start
    return whole and all(key in found for key in _NEEDED)


def guard_lives(state: State) -> bool:
    """Whether the guard that wrote this state is alive."""
    return proc.alive(*state["guard"])
