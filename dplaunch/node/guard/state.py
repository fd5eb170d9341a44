"""The state files of a process, and whether this guard may act on them.

Whoever reads them may rely on their shape: a file of another shape counts as one that cannot be read.
"""

from __future__ import annotations

from . import proc
from .store import Folder, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .shapes import Exit, State

    Test = Callable[[Any], bool]

PROTOCOL = 2
_LATEST = 1e11
"""Seconds since the epoch, or of a grace, that anybody can mean."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 63


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 16


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _LATEST


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _list_of(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _row(*tests: Test) -> Test:
    def fits(value: Any) -> bool:
        whole = isinstance(value, list) and len(value) == len(tests)
        return whole and all(test(one) for test, one in zip(tests, value))

    return fits


def _with(**tests: Test) -> Test:
    return lambda value: (
        isinstance(value, dict) and all(name in value and test(value[name]) for name, test in tests.items())
    )


_PROCESS = _row(_is_count, _is_count)
_LAST_EXIT = {"code": _or_null(_is_count), "signal": _is_text, "at": _is_time}
_LEFT = _with(pid=_is_count, command=_is_text)
_is_exit = _with(
    **_LAST_EXIT, asked=lambda value: isinstance(value, bool), how=_is_text, left=_list_of(_LEFT)
)
_is_any_state = _with(
    guard=_PROCESS,
    main=_PROCESS,
    tree=_list_of(_row(_is_count, _is_count, _is_count)),
    host=_is_text,
    boot=_is_text,
    phase=_is_text,
    started_at=_is_time,
)
"""What every protocol so far has in its state files."""
_has_more = _with(
    version=_is_text,
    signal=_is_text,
    last_exit=_or_null(_with(**_LAST_EXIT)),
    restart_count=_is_count,
    endpoints=_list_of(_with(**dict.fromkeys(("name", "url", "health", "models", "model"), _is_text))),
    ready=_is_object,
    logs=_list_of(_with(name=_is_text, path=_is_text)),
    ports=_list_of(_is_port),
    address=_is_text,
    stop=_list_of(_row(_is_text, _is_time)),
    fingerprint=_is_text,
    meta=_is_object,
    notes=_list_of(_is_text),
    shared=_list_of(_row(_is_text, _is_count)),
)
"""What we act on too, in a file of this protocol."""
_LATER: dict[str, Any] = {"shared": []}
"""What guards of this protocol did not write at first."""


def load_state(folder: Folder, name: str) -> State | None:
    """state.json of a process, if a guard of this protocol wrote it and nothing that we act on is missing."""
    found: Any = read_json(folder.proc(name, "state.json"))
    whole: Any = {**_LATER, **found} if protocol_of(found) == PROTOCOL else None
    state: State | None = whole
    return state


def load_exit(folder: Folder, name: str) -> Exit | None:
    """exit.json of a process; None while it has not ended."""
    found: Any = read_json(folder.proc(name, "exit.json"))
    ended: Exit | None = found if _is_exit(found) else None
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
    return number if is_whole(found) and (number < PROTOCOL or _has_more({**_LATER, **(found or {})})) else 0


def is_whole(found: dict[str, Any] | None) -> bool:
    """Whether a state file has what all protocols so far write."""
    return _is_any_state(found)


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
