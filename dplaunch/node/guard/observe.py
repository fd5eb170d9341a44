"""What runs here: the state files compared with the processes of the kernel."""

from __future__ import annotations

import fcntl
import os

from . import proc
from .state import PROTOCOL, explain_protocol, guard_lives, is_whole, load_exit, load_state, protocol_of
from .store import Folder, opened, read_json
from .strays import find_strays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .proc import Proc
    from .shapes import Exit, Process, State

ALIVE = ("running", "unguarded", "stopping")


def observe_node(folder: Folder, *, health: bool, search: bool = False) -> list[Process]:
    """Every process of the node folder, as ``observe`` replies. Nothing unreadable breaks it.

    ``search``: also look among all processes of the machine for those whose state was removed; that is
    done anyway where there is no state at all.
    """
    found = [one for one in (observe_process(folder, name) for name in folder.names()) if one is not None]
    if search or not found:
        _add_strays(found, folder)
    if health:
        _ask_health([one for one in found if one["state"] in ALIVE])
    return found


def _ask_health(alive: list[Process]) -> None:
    """Ask every endpoint that has a path of health, all at once."""
    asked = [endpoint for one in alive for endpoint in one["endpoints"] if endpoint["health"]]
    if not asked:
        return
    from .health import ask_health  # noqa: PLC0415 - what it imports is needed only here

    answers = ask_health([endpoint["url"] + endpoint["health"] for endpoint in asked])
    for endpoint, healthy in zip(asked, answers):
        endpoint["healthy"] = healthy


def list_pids(folder: Folder) -> list[int]:
    """Every live process of ours here: guards, and all that the trees of the state files name."""
    found: set[int] = set()
    for name in folder.names():
        state = read_json(folder.proc(name, "state.json"))
        if state is None or not is_whole(state) or state["boot"] != proc.boot_id():
            continue
        pairs = [state["guard"], state["main"], *(entry[:2] for entry in state["tree"])]
        found.update(pid for pid, start in pairs if proc.alive(pid, start))
    return sorted(found)


def _add_strays(found: list[Process], folder: Folder) -> None:
    """Add what runs without state, and what outlived its process without being recorded."""
    known = {one["name"]: one for one in found}
    for name, procs in find_strays(folder.root).items():
        if name not in known:
            found.append(_unknown(folder, name, f"there is no state of {name}", procs))
        elif known[name]["state"] in ("exited", "stopped", "done"):
            known[name]["left"] = sorted({*known[name]["left"], *(one.pid for one in procs)})


def is_known(found: Process) -> bool:
    """Whether this guard can tell if the process is running, and may act on it."""
    return found["state"] not in ("foreign", "incompatible", "unknown")


def observe_process(folder: Folder, name: str) -> Process | None:
    """One process; None when it has no state here, and no guard."""
    state, ended = load_state(folder, name), load_exit(folder, name)
    if state is None:
        return _unusable(folder, name)
    found = _describe(folder, name, state, ended)
    if _is_of_this_boot(state):
        _judge(found, state, ended)
    elif state["host"] != proc.hostname():
        _call_foreign(found, folder)
    elif is_guarded(folder, name):  # by a guard in another container that shares the state folder
        found["host"] = f"{state['host']}, in another container"
        _call_foreign(found, folder)
    else:
        found["state"] = _ended_state(state, ended)
        found["how"] = found["how"] or "rebooted"
    return found


def _is_of_this_boot(state: State) -> bool:
    """By the boot's id, which is unique: a host may be renamed. Where the kernel has none, by name too."""
    named = not proc.boot_id().startswith("/") or state["host"] == proc.hostname()
    return state["boot"] == proc.boot_id() and named


def is_guarded(folder: Folder, name: str) -> bool:
    """Whether a guard holds this place, here or in another container that shares the state folder."""
    try:
        with opened(folder.proc(name, "guard"), os.O_RDONLY) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or a file system without locks
        return False
    return False


def _call_foreign(found: Process, folder: Folder) -> None:
    """State of another host is never acted on, and never removed."""
    name, host = found["name"], found["host"]
    found["state"], found["problem"] = "foreign", f"the state of {name} was written by host {host}"
    found["hint"] = f"stop it on {host}; if that host is gone, remove {folder.proc(name)}"


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
        "endpoints": [],
        "ready": {},
        "logs": [],
        "restarts": 0,
        "fingerprint": "",
        "log": folder.proc(name, "log"),
        "left": [],
        "ports": [],
        "meta": {},
        "notes": [],
        "host": "",
        "protocol": PROTOCOL,
        "version": "",
        "problem": "",
        "hint": "",
    }


def _unusable(folder: Folder, name: str) -> Process | None:
    """A process whose state file is of another protocol, cannot be read, or was removed under its guard."""
    path = folder.proc(name, "state.json")
    content = read_json(path) or {}
    protocol = protocol_of(content)
    if protocol:
        return _incompatible(_blank(folder, name), protocol, content)
    there, guarded = os.path.exists(path), is_guarded(folder, name)
    if not there and not guarded:
        return None
    problem = f"{path} {'cannot be read' if there else 'was removed'}"
    living = find_strays(folder.root).get(name, [])
    if guarded or living:
        return _unknown(folder, name, problem, living)
    found = _blank(folder, name)
    found["problem"] = f"{problem}, and nothing of {name} runs here"
    return found


def _incompatible(found: Process, protocol: int, content: dict[str, Any]) -> Process:
    version, meta, host = (content.get(key) for key in ("version", "meta", "host"))
    found["state"], found["protocol"] = "incompatible", protocol
    found["version"] = version if isinstance(version, str) else ""
    found["problem"], found["hint"] = explain_protocol(found["name"], protocol, found["version"])
    found["meta"] = meta if isinstance(meta, dict) else {}
    found["host"] = host if isinstance(host, str) else ""
    return found


def _unknown(folder: Folder, name: str, problem: str, living: list[Proc]) -> Process:
    """A process that runs, or is guarded, although its state cannot be read."""
    found = _blank(folder, name)
    pids = ", ".join(str(one.pid) for one in living)
    runs = f"process {pids} of it runs" if living else "its guard lives"
    found["state"], found["left"] = "unknown", [one.pid for one in living]
    found["problem"] = f"{problem}, but {runs}"
    found["hint"] = "its guard writes it again within seconds: dplaunch status; `dplaunch down` ends it"
    return found


def _describe(folder: Folder, name: str, state: State, ended: Exit | None) -> Process:
    """What the files of a process hold; whether it lives is still open."""
    found = _blank(folder, name)
    last = ended or state["last_exit"]
    if last:
        found["ended_at"], found["exit_code"] = last.get("at") or 0.0, last.get("code")
        found["signal"] = last.get("signal") or ""
    found["pid"], found["guard_pid"] = state["main"][0], state["guard"][0]
    found["started_at"], found["host"] = state["started_at"], state["host"]
    found["how"] = ended.get("how", "") if ended else ""
    found["endpoints"] = [{**endpoint, "healthy": None} for endpoint in state["endpoints"]]
    for key in ("ready", "logs", "fingerprint", "version", "ports", "meta", "notes"):
        found[key] = state[key]
    found["restarts"] = state["restart_count"]
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
        found["state"], found["left"] = _ended_state(state, ended), left


def _ended_state(state: State, ended: Exit | None) -> str:
    """``done`` is the end of a job with code 0."""
    if ended and ended.get("asked"):
        return "stopped"
    last = ended or state["last_exit"]
    is_job = state["ready"].get("kind") == "exit"
    return "done" if is_job and last and last["code"] == 0 else "exited"
