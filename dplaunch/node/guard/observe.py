"""What runs here: the state files against what the kernel says."""

from __future__ import annotations

import fcntl
import os

from . import linux, proc
from .store import Folder, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALIVE = ("running", "unguarded", "stopping")


def node(folder: Folder, *, health: bool) -> list[dict[str, Any]]:
    """Every process of the node folder, as ``observe`` answers it. Nothing unreadable breaks it."""
    found = [one for one in (process(folder, name) for name in folder.names()) if one is not None]
    asked = [one for one in found if health and one["state"] in ALIVE and one["meta"].get("url")]
    if asked:
        from . import ask  # noqa: PLC0415 - http.client costs more than all else: only where health is asked

        answers = ask.ask_all([{"url": health_url(one["meta"]), "timeout": 2.0} for one in asked])
        for place, one in enumerate(asked):
            one["healthy"] = answers[place]["status"] == 200  # noqa: PLR2004 - HTTP OK
    return found


def pids(folder: Folder) -> list[int]:
    """Every live process of ours here: guards, and all that the trees of the state files name."""
    found: set[int] = set()
    for name in folder.names():
        state = read_json(folder.proc(name, "state.json"))
        if state is None or not _whole(state) or state["boot"] != linux.boot_id():
            continue
        pairs = [state["guard"], state["main"], *(entry[:2] for entry in state["tree"])]
        found.update(pid for pid, start in pairs if proc.alive(pid, start))
    return sorted(found)


def health_url(meta: dict[str, Any]) -> str:
    """``url`` and ``health`` of a process's meta, joined."""
    return str(meta["url"]).rstrip("/") + str(meta.get("health") or "/health")


def process(folder: Folder, name: str) -> dict[str, Any] | None:
    """One process; None when there is no state of it."""
    path = folder.proc(name, "state.json")
    if not os.path.exists(path):
        return None
    state = read_json(path)
    if state is None or not _whole(state):
        return {**_empty(folder, name), "problem": f"{path} cannot be read; what it said is unknown"}
    ended = read_json(folder.proc(name, "exit.json"))
    shown = {**_empty(folder, name), **_told(state)}
    shown.update(_ended(state, ended))
    if state["host"] != linux.hostname():
        shown["state"] = "foreign"
    elif state["boot"] != linux.boot_id() and guarded_elsewhere(folder, name):
        shown.update(state="foreign", host=f"{state['host']}, in another container")
    elif state["boot"] != linux.boot_id():
        shown.update(state="stopped" if ended and ended.get("asked") else "exited", left=[])
        shown["how"] = shown["how"] or "rebooted"
    else:
        shown.update(_living(state, ended))
    return shown


def guarded_elsewhere(folder: Folder, name: str) -> bool:
    """Whether a guard that is no process of ours holds this place: two containers share the state folder."""
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


def guard_lives(state: dict[str, Any]) -> bool:
    """Whether the guard that wrote this state is there."""
    return proc.alive(*state["guard"])


def _whole(state: dict[str, Any]) -> bool:
    """Whether it has what we act on; a file of half its keys counts as unreadable."""
    pairs = (state.get("guard"), state.get("main"))
    return all(isinstance(pair, list) and len(pair) == 2 for pair in pairs) and all(  # noqa: PLR2004 - pid, start
        key in state for key in ("host", "boot", "phase", "tree", "started_at")
    )


def _empty(folder: Folder, name: str) -> dict[str, Any]:
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


def _told(state: dict[str, Any]) -> dict[str, Any]:
    """What the state file says of itself, nothing looked at."""
    return {
        "pid": state["main"][0],
        "guard_pid": state["guard"][0],
        "started_at": state["started_at"],
        "restarts": state.get("restart_count", 0),
        "fingerprint": state.get("fingerprint", ""),
        "ports": state.get("ports") or [],
        "meta": state.get("meta") or {},
        "notes": state.get("notes") or [],
        "host": state["host"],
    }


def _ended(state: dict[str, Any], ended: dict[str, Any] | None) -> dict[str, Any]:
    last = ended or state.get("last_exit") or {}
    return {
        "ended_at": last.get("at") or 0.0,
        "exit_code": last.get("code"),
        "signal": last.get("signal") or "",
        "how": (ended or {}).get("how", ""),
    }


def _living(state: dict[str, Any], ended: dict[str, Any] | None) -> dict[str, Any]:
    """State by what lives: ``pid`` is 0 while a service waits to be started again."""
    guarded = guard_lives(state)
    if proc.alive(*state["main"]):
        asked = state["phase"] == "stopping"
        return {"state": ("stopping" if asked else "running") if guarded else "unguarded"}
    left = [pid for pid, start, _ in state["tree"] if proc.alive(pid, start)]
    if guarded and state["phase"] == "stopping" and ended is None:
        return {"state": "stopping", "left": left}
    if guarded and ended is None and state["phase"] in ("starting", "waiting", "running"):
        # just forked, between two runs of a service, or gone so lately that its guard has yet to say how
        return {"state": "running", "pid": 0}
    return {"state": "stopped" if ended and ended.get("asked") else "exited", "left": left}
