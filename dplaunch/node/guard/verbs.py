"""What each verb does: a function from a call to the fields of its reply.

What only some verbs need is imported by them: a session is up before it knows what it will do.
"""

from __future__ import annotations

import json
import time

from . import files, linux, lock, observe
from .store import Refused, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .session import Call

    Verb = Callable[[Call], "dict[str, Any]"]

AUDIT_LIMIT = 1 << 20


def _observe(call: Call) -> dict[str, Any]:
    plan = read_json(call.folder.path("plan.json")) or {}
    return {
        "revision": plan.get("revision", ""),
        "hostname": linux.hostname(),
        "clock": time.time(),
        "lock": lock.holder(call.folder),
        "audit": next(iter(files.last_objects(call.folder.path("audit.jsonl"), 1)), None),
        "processes": observe.node(call.folder, health=bool(call.get("health"))),
    }


def _lock(call: Call) -> dict[str, Any]:
    call.session.lock.take(str(call.get("holder", "somebody")), str(call.get("what", "")))
    return {}


def _relock(call: Call) -> dict[str, Any]:
    """As ``lock``, for whose link broke: the session that is gone may hold it a while longer."""
    ends = time.monotonic() + float(call.get("patience", 45.0))
    while not _taken(call) and time.monotonic() < ends and not call.pause(0.5):
        pass
    return _lock(call)


def _taken(call: Call) -> bool:
    try:
        _lock(call)
    except Refused:
        return False
    return True


def _unlock(call: Call) -> dict[str, Any]:
    call.session.lock.release()
    return {}


def _put(call: Call) -> dict[str, Any]:
    files.put(call.folder, call.get("files", []), call.get("plan"))
    return {}


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
    return {"lines": files.last_objects(path, int(call.get("tail", 20)))}


def _cancel(call: Call) -> dict[str, Any]:
    target = call.session.calls.get(call.get("target"))
    if target is not None:
        target.cancelled.set()
    return {}


def _later(module: str, function: str = "answer") -> Verb:
    """The verb ``module.function``, imported when it is first asked for."""

    def verb(call: Call) -> dict[str, Any]:
        answered: dict[str, Any] = getattr(__import__(module, globals(), None, [function], 1), function)(call)
        return answered

    return verb


QUICK: dict[str, Verb] = {
    "observe": _observe,
    "lock": _lock,
    "unlock": _unlock,
    "put": _put,
    "start": _later("start"),
    "forget": _forget,
    "audit": _audit,
    "cancel": _cancel,
}
"""Answered in the order asked: a launcher may send lock, put and start in one go."""
SLOW: dict[str, Verb] = {
    "watch": _later("watch"),
    "relock": _relock,
    "follow": _later("follow"),
    "probe": _later("ask"),
    "stop": _later("halt"),
    "exec": _later("run"),
    "survey": _later("survey"),
    "listen": _later("reach", "listen"),
    "connect": _later("reach", "connect"),
}
"""Answered when done, each in a thread of its own."""
FINISHING = ("stop", "exec", "survey")
"""A session that ends waits for these: they end what they run, which would go on without limit otherwise."""
