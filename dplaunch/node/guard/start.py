"""``start``: check, fork a guard for each process, reply when every exec succeeded or failed."""

from __future__ import annotations

import gc
import json
import os
import select
import time

from . import proc, spawn, supervise
from .claims import describe, list_claims, overlapping
from .handover import survivors
from .observe import ALIVE, is_known, observe_process
from .state import load_state
from .store import Folder, Refused, refusal, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Call
    from .shapes import Claim, Spec

_ENDPOINT = {"name", "url", "health", "models", "model"}
DEADLINE = 30.0
"""Seconds until a silent guard counts as failed: an exec may wait for a slow network disk."""


def answer(call: Call) -> dict[str, Any]:
    """The verb ``start``, a result per spec in order: ``{name, ok, pid}`` or ``{name, ok: false, error}``."""
    specs: list[Spec] = call.get("processes", [])
    others = list_claims(call.folder)
    errors = [_refused(call.folder, spec, others) for spec in specs]
    births = proc.Births()
    guards = {
        place: supervise.Guard(spec, call.folder.root, call.folder.proc(spec["name"]), births)
        for place, spec in enumerate(specs)
        if errors[place] is None
    }
    pipes: dict[int, int] = {}
    gc.freeze()  # what the guards share must stay shared memory
    with spawn.signals_of_a_guard():
        for place, guard in guards.items():  # only forks: any other work here would copy shared memory
            pid, pipe = _launch(guard)
            call.guards.append(pid)
            pipes[pipe] = place
    results = {place: {"ok": False, "error": error} for place, error in enumerate(errors) if error}
    results.update(_gather(pipes))
    return {"results": [{"name": spec.get("name"), **results[place]} for place, spec in enumerate(specs)]}


def _refused(folder: Folder, spec: Spec, others: list[Claim]) -> dict[str, Any] | None:
    """Why this one cannot be started; None, and its folder is there, when it can."""
    try:
        _check(folder, spec)
        _check_claims(spec, others)
        folder.make("proc", spec["name"])
    except Refused as refused:
        return refused.error
    except OSError as error:
        return refusal(error, folder.root).error
    return None


def _launch(guard: supervise.Guard) -> tuple[int, int]:
    """Fork the guard: its pid and the pipe it will answer on."""

    def work(pipe: int, keeps_orphans: bool) -> None:
        guard.enter(keeps_orphans=keeps_orphans)
        seconds = guard.spec.get("takes_over")
        before = None if seconds is None else load_state(Folder(guard.root), guard.spec["name"])
        try:
            pid = guard.begin() if seconds is None or before is None else guard.take_over(before, seconds)
        except Refused as refused:
            _send(pipe, {"ok": False, "error": refused.error})
        except OSError as error:
            _send(pipe, {"ok": False, "error": refusal(error, guard.folder).error})
        else:
            _send(pipe, {"ok": True, "pid": pid})
            guard.run()

    return spawn.detach(work, os.path.join(guard.folder, "guard.log"))


def _send(pipe: int, result: dict[str, Any]) -> None:
    try:
        write_all(pipe, json.dumps(result).encode())
    except OSError:
        return  # the session died meanwhile: what was started keeps running, the next session sees it
    finally:
        os.close(pipe)


def _check(folder: Folder, spec: Spec) -> None:
    """Raises Refused where this name runs already, or one of its ports is taken.

    What lives although its state was lost is found by ``observe`` with ``search``, which is asked before.
    """
    name, argv = spec.get("name", ""), spec.get("argv")
    folder.proc(name)  # refuses what is not a name
    if not argv or not all(isinstance(word, str) for word in argv):
        raise Refused("request", f"{name}: argv must be a list of words")
    if not all(endpoint.keys() >= _ENDPOINT for endpoint in spec.get("endpoints") or ()):
        raise Refused("request", f"{name}: an endpoint has {', '.join(sorted(_ENDPOINT))}")
    for log in spec.get("logs") or ():
        folder.inside(log["path"])
    found = observe_process(folder, name)
    if found and not is_known(found):
        raise Refused(found["state"], found["problem"], found["hint"])
    ours: set[int] = set()
    if spec.get("takes_over") is not None:
        ours = _find_predecessor(folder, name)
    elif found and (found["state"] in ALIVE or found["left"]):
        which = found["pid"] or ", ".join(map(str, found["left"]))
        raise Refused("running", f"{name} is already running (pid {which})", "stop it first: dplaunch down")
    if spec.get("ports"):
        _check_ports(spec, ours)


def _find_predecessor(folder: Folder, name: str) -> set[int]:
    """The pids of the process that another takes over from. Raises Refused where it does not run, guarded."""
    state, found = load_state(folder, name), observe_process(folder, name)
    if state is None or found is None or found["state"] != "running" or not found["pid"]:
        raise Refused(
            "handover", f"{name}: nothing runs that it could take over from", "run the command again"
        )
    return {one.pid for one in survivors(state)}


def _check_claims(spec: Spec, others: list[Claim]) -> None:
    devices = (spec.get("meta") or {}).get("devices") or ()
    for claim in overlapping(others, spec.get("address") or "", spec.get("ports") or (), devices):
        text = f"{spec['name']}: {describe(claim)}"
        hint = "stop that cluster, or give one of the two other devices and ports in its file"
        raise Refused("claimed", text, hint)


def _check_ports(spec: Spec, ours: set[int]) -> None:
    """``ours`` may hold them."""
    from . import ports  # noqa: PLC0415 - only where there are some

    for port in spec["ports"]:
        holder = ports.find_holder(spec.get("address") or "", int(port))
        if holder is not None and holder.pid not in ours:
            text = f"{spec['name']}: port {port} is taken by {holder.text()}"
            hint = "stop that process, or choose other ports in the cluster file"
            raise Refused("port-taken", text, hint, port=port, pid=holder.pid)


def _gather(waiting: dict[int, int]) -> dict[int, dict[str, Any]]:
    """The result that each guard sent, by place."""
    results: dict[int, dict[str, Any]] = {}
    received = dict.fromkeys(waiting, b"")
    poll = select.poll()
    for pipe in waiting:
        poll.register(pipe, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + DEADLINE
    while received and time.monotonic() < deadline:
        for pipe, _ in poll.poll(1000):
            data = os.read(pipe, 65536)
            received[pipe] += data
            if not data:
                poll.unregister(pipe)
                os.close(pipe)
                results[waiting[pipe]] = _result(received.pop(pipe))
    for pipe in received:
        os.close(pipe)
        results[waiting[pipe]] = _failure(f"its guard did not answer within {DEADLINE:.0f} s")
    return results


def _result(received: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(received)
    except ValueError:
        return _failure("its guard died before it could start anything")
    return answer


def _failure(text: str) -> dict[str, Any]:
    return {"ok": False, "error": {"kind": "guard", "text": text, "hint": "see guard.log in its folder"}}
