"""What each verb does: a function from a call to the fields of its reply.

Modules that only some verbs need are imported when such a verb is first asked for.
"""

from __future__ import annotations

import json
import time

from . import files, lock, proc
from .observe import observe_node
from .store import Refused, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .call import Call

    Verb = Callable[[Call], "dict[str, Any]"]

AUDIT_LIMIT = 1 << 20


def _observe(call: Call) -> dict[str, Any]:
    plan = read_json(call.folder.path("plan.json")) or {}
    return {
        "revision": str(plan.get("revision") or ""),
        "hostname": proc.hostname(),
        "clock": time.time(),
        "lock": lock.find_holder(call.folder),
        "audit": next(iter(files.read_last_objects(call.folder.path("audit.jsonl"), 1)), None),
        "processes": observe_node(
            call.folder, health=bool(call.get("health")), search=bool(call.get("search"))
        ),
    }


def _lock(call: Call) -> dict[str, Any]:
    call.lock.take(str(call.get("holder", "a session")), str(call.get("what", "")))
    return {}


def _relock(call: Call) -> dict[str, Any]:
    """As ``lock``, after a broken link: the lost session may hold the lock a while longer."""
    ends = time.monotonic() + float(call.get("patience", 45.0))
    while not _try_lock(call) and time.monotonic() < ends and not call.pause(0.5):
        pass
    return _lock(call)


def _try_lock(call: Call) -> bool:
    try:
        _lock(call)
    except Refused:
        return False
    return True


def _unlock(call: Call) -> dict[str, Any]:
    call.lock.release()
    return {}


def _put(call: Call) -> dict[str, Any]:
    files.put(call.folder, call.get("files", []), call.get("plan"))
    return {}


def _get(call: Call) -> dict[str, Any]:
    return {"files": [files.read_file(call.folder, path) for path in call.get("paths", [])]}


def _forget(call: Call) -> dict[str, Any]:
    files.forget(
        call.folder, call.get("names", []), everything=bool(call.get("all")), logs=bool(call.get("logs"))
    )
    return {}


def _audit(call: Call) -> dict[str, Any]:
    path = call.folder.path("audit.jsonl")
    entry = call.get("append")
    if entry is not None:
        files.append(call.folder, path, json.dumps(entry), AUDIT_LIMIT)
        return {"lines": []}
    return {"lines": files.read_last_objects(path, int(call.get("tail", 20)))}


def _cancel(call: Call) -> dict[str, Any]:
    target = call.calls.get(call.get("target"))
    if target is not None:
        target.cancelled.set()
    return {}


def _import_later(module: str, function: str = "answer") -> Verb:
    """The verb ``module.function``, imported when it is first asked for."""

    def verb(call: Call) -> dict[str, Any]:
        reply: dict[str, Any] = getattr(__import__(module, globals(), None, [function], 1), function)(call)
        return reply

    return verb


QUICK: dict[str, Verb] = {
    "observe": _observe,
    "lock": _lock,
    "unlock": _unlock,
    "put": _put,
    "get": _get,
    "start": _import_later("start"),
    "forget": _forget,
    "audit": _audit,
    "cancel": _cancel,
}
"""Answered in the order of the requests: a launcher may send lock, put and start at once."""
SLOW: dict[str, Verb] = {
    "watch": _import_later("watch"),
    "relock": _relock,
    "follow": _import_later("follow"),
    "probe": _import_later("ask"),
    "stop": _import_later("stop_verb"),
    "exec": _import_later("exec_verb"),
    "survey": _import_later("survey"),
    "listen": _import_later("reach", "listen"),
    "connect": _import_later("reach", "connect"),
}
"""Answered when finished, each in a thread of its own."""
FINISHING = ("stop", "exec", "survey")
"""A session that ends waits for these: they end what they run, which would otherwise run without limit."""
