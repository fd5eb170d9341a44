"""Start processes: check, fork a guard for each, answer when every exec succeeded or failed."""

from __future__ import annotations

import gc
import json
import os
import select
import time

from . import observe, proc, spawn, supervise
from .store import Folder, Refused, refusal, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Call

DEADLINE = 30.0
"""Seconds until a guard that says nothing counts as failed: an exec may wait for a slow network disk."""


def answer(call: Call) -> dict[str, Any]:
    """The verb: one result per spec, in order: ``{name, ok, pid}`` or ``{name, ok: false, error}``."""
    specs = call.get("processes", [])
    errors = [_refused(call.folder, spec) for spec in specs]
    births = proc.Births()
    results: dict[int, dict[str, Any]] = {}
    waiting: dict[int, int] = {}
    gc.freeze()  # what the guards share stays shared
    for place, spec in enumerate(specs):  # nothing but forks: whatever else we do now, memory is copied for
        error = errors[place]
        if error is None:
            pid, pipe = _launch(call.folder, spec, births)
            call.session.guards.append(pid)
            waiting[pipe] = place
        else:
            results[place] = {"ok": False, "error": error}
    results.update(_gather(waiting))
    return {"results": [{"name": spec.get("name"), **results[place]} for place, spec in enumerate(specs)]}


def _refused(folder: Folder, spec: dict[str, Any]) -> dict[str, Any] | None:
    """Why this one cannot be started; None, and its folder is there, when it can."""
    try:
        _check(folder, spec)
        folder.make("proc", spec["name"])
    except Refused as refused:
        return refused.error
    except OSError as error:
        return refusal(error, folder.root).error
    return None


def _launch(folder: Folder, spec: dict[str, Any], births: proc.Births) -> tuple[int, int]:
    """Fork the guard: its pid and the pipe it will answer on."""
    home = folder.proc(spec["name"])

    def work(pipe: int, keeps_orphans: bool) -> None:
        guard = supervise.Guard(spec, folder.root, home, births, keeps_orphans=keeps_orphans)
        try:
            pid = guard.begin()
        except Refused as refused:
            _say(pipe, {"ok": False, "error": refused.error})
        except OSError as error:
            _say(pipe, {"ok": False, "error": refusal(error, home).error})
        else:
            _say(pipe, {"ok": True, "pid": pid})
            guard.run()

    return spawn.detach(work, os.path.join(home, "guard.log"))


def _say(pipe: int, said: dict[str, Any]) -> None:
    try:
        write_all(pipe, json.dumps(said).encode())
    except OSError:
        return  # the session died meanwhile: what was started goes on, the next session sees it
    finally:
        os.close(pipe)


def _check(folder: Folder, spec: dict[str, Any]) -> None:
    """Raises Refused where this name runs already, or a port of it is taken."""
    name, argv = spec.get("name", ""), spec.get("argv")
    home = folder.proc(name)
    if not argv or not all(isinstance(word, str) for word in argv):
        raise Refused("request", f"{name}: argv must be a list of words")
    found = observe.process(folder, name)
    if found and found["state"] == "foreign":
        text = f"{name}: its state here was written by host {found['host']}"
        hint = f"if that host is gone, remove {home}"
        raise Refused("foreign", text, hint)
    if found and (found["state"] in observe.ALIVE or found["left"]):
        which = found["pid"] or ", ".join(map(str, found["left"]))
        raise Refused("running", f"{name} runs already (pid {which})", f"stop it first: dplaunch down {name}")
    if spec.get("ports"):
        _check_ports(spec)


def _check_ports(spec: dict[str, Any]) -> None:
    from . import ports  # noqa: PLC0415 - 5 ms, only where there are some

    for port in spec["ports"]:
        holder = ports.taken(spec.get("address") or "", int(port))
        if holder is not None:
            text = f"{spec['name']}: port {port} is taken by {holder.text()}"
            hint = "stop that process, or choose other ports in the cluster file"
            raise Refused("port-taken", text, hint, port=port, pid=holder.pid)


def _gather(waiting: dict[int, int]) -> dict[int, dict[str, Any]]:
    """What each guard said, by place."""
    results: dict[int, dict[str, Any]] = {}
    said = dict.fromkeys(waiting, b"")
    poll = select.poll()
    for pipe in waiting:
        poll.register(pipe, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + DEADLINE
    while said and time.monotonic() < deadline:
        for pipe, _ in poll.poll(1000):
            data = os.read(pipe, 65536)
            said[pipe] += data
            if not data:
                poll.unregister(pipe)
                os.close(pipe)
                results[waiting[pipe]] = _heard(said.pop(pipe))
    for pipe in said:
        os.close(pipe)
        results[waiting[pipe]] = _failure(f"its guard did not answer within {DEADLINE:.0f} s")
    return results


def _heard(said: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        return _failure("its guard died before it could start anything")
    return answer


def _failure(text: str) -> dict[str, Any]:
    return {"ok": False, "error": {"kind": "guard", "text": text, "hint": "see guard.log in its folder"}}
