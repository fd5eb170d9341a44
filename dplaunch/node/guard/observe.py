"""What runs here: the state files against what the kernel says."""

from __future__ import annotations

import fcntl
import os

from . import linux, proc
from .state import guard_lives, load_exit, load_state
from .store import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .shapes import Exit, Process, State

ALIVE = ("running", "unguarded", "stopping")
_HEALTH_TIMEOUT = 2.0
_OK = 200


def observe_node(folder: Folder, *, health: bool) -> list[Process]:
    """Every process of the node folder, as ``observe`` replies. Nothing unreadable breaks it."""
    found = [one for one in (observe_process(folder, name) for name in folder.names()) if one is not None]
    asked = [one for one in found if health and one["state"] in ALIVE and one["meta"].get("url")]
    if asked:
        from . import ask  # noqa: PLC0415 - http.client costs more than all else: only where health is asked

        answers = ask.ask_all([{"url": health_url(one["meta"]), "timeout": _HEALTH_TIMEOUT} for one in asked])
        for place, one in enumerate(asked):
            one["healthy"] = answers[place]["status"] == _OK
    return found


def health_url(meta: dict[str, Any]) -> str:
    """``url`` and ``health`` of a process's meta, joined."""
    return str(meta["url"]).rstrip("/") + str(meta.get("health") or "/health")


def list_pids(folder: Folder) -> list[int]:
    """Every live process of ours here: guards, and all that the trees of the state files name."""
    found: set[int] = set()
    for name in folder.names():
        state = load_state(folder, name)
        if state is None or state["boot"] != linux.boot_id():
            continue
        pairs = [state["guard"], state["main"], *(entry[:2] for entry in state["tree"])]
        found.update(pid for pid, start in pairs if proc.alive(pid, start))
    return sorted(found)


def observe_process(folder: Folder, name: str) -> Process | None:
    """One process; None when it has no state here."""
    path = folder.proc(name, "state.json")
    if not os.path.exists(path):
        return None
    state = load_state(folder, name)
    if state is None:
        unreadable = _blank(folder, name)
        unreadable["problem"] = f"{path} cannot be read, so its state is unknown"
        return unreadable
    ended = load_exit(folder, name)
    found = _describe(folder, name, state, ended)
    if state["host"] != linux.hostname():
        found["state"] = "foreign"
    elif state["boot"] != linux.boot_id() and guarded_elsewhere(folder, name):
        found["state"], found["host"] = "foreign", f"{state['host']}, in another container"
    elif state["boot"] != linux.boot_id():
        found["state"] = _ended_state(ended)
        found["how"] = found["how"] or "rebooted"
    else:
        _judge(found, state, ended)
    return found


def guarded_elsewhere(folder: Folder, name: str) -> bool:
    """Whether a guard elsewhere holds this place: two containers may share the state folder."""
    try:
        fd = os.open(folder.proc(name, "guard"), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(fd)
    return False


def _blank(folder: Folder, name: str) -> Process:
    return {
        "name": name,
        "state": "exited",
        "pid": 0,
        "guard_pid": 0,
        "started_at": 0.0,
        "ended_at": 0.0,
        "exit_code": None,
        "signal": "",
        "how": "",
        "healthy": None,
        "restarts": 0,
        "fingerprint": "",
        "log": folder.proc(name, "log"),
        "left": [],
        "ports": [],
        "meta": {},
        "notes": [],
        "host": "",
        "problem": "",
    }


def _describe(folder: Folder, name: str, state: State, ended: Exit | None) -> Process:
    """What the files of a process hold; whether it lives is still open."""
    found = _blank(folder, name)
    last = ended or state.get("last_exit")
    if last:
        found["ended_at"], found["exit_code"] = last.get("at") or 0.0, last.get("code")
        found["signal"] = last.get("signal") or ""
    found["pid"], found["guard_pid"] = state["main"][0], state["guard"][0]
    found["started_at"], found["host"] = state["started_at"], state["host"]
    found["how"] = ended.get("how", "") if ended else ""
    found["restarts"] = state.get("restart_count", 0)
    found["fingerprint"] = state.get("fingerprint", "")
    found["ports"], found["meta"] = state.get("ports") or [], state.get("meta") or {}
    found["notes"] = state.get("notes") or []
    return found


def _judge(found: Process, state: State, ended: Exit | None) -> None:
    """Set the state by what lives. ``pid`` is 0 while a service waits to be started again."""
    guarded = guard_lives(state)
    if proc.alive(*state["main"]):
        living = "stopping" if state["phase"] == "stopping" else "running"
        found["state"] = living if guarded else "unguarded"
        return
    left = [pid for pid, start, _ in state["tree"] if proc.alive(pid, start)]
    if guarded and state["phase"] == "stopping" and ended is None:
        found["state"], found["left"] = "stopping", left
    elif guarded and ended is None and state["phase"] in ("starting", "waiting", "running"):
        # just forked, between two runs of a service, or gone so lately that its guard has not recorded how
        found["state"], found["pid"] = "running", 0
    else:
        found["state"], found["left"] = _ended_state(ended), left


def _ended_state(ended: Exit | None) -> str:
    return "stopped" if ended and ended.get("asked") else "exited"
