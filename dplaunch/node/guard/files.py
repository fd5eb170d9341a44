"""Files of the node folder: put, get, forget, append."""

from __future__ import annotations

import contextlib
import json
import os
import time

from . import log, proc
from .observe import ALIVE, is_known, observe_process
from .state import load_state
from .store import Folder, Refused, opened, parse_object, refusal, remove, try_flock, write_all, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PATIENCE = 10.0
"""Seconds that a put waits for the puts of other sessions."""
LARGEST = 4 << 20
"""Bytes of the largest file that get reads."""


def put(
    folder: Folder,
    files: list[dict[str, Any]],
    plan: dict[str, Any] | None,
    patience: float = PATIENCE,
) -> None:
    """Write ``files`` ({path, text, mode, owner, expect}), then plan.json. Raises Refused.

    Paths are relative to the node folder, or absolute: their folder must exist then.

    ``expect`` is the sha256 of what must be there, empty where nothing may be. Where one does not match,
    nothing is written. Puts of several sessions follow each other, so that none undoes another's change.
    """
    with _write_lock(folder, patience):
        changed = [file["path"] for file in files if not _is_as_expected(folder, file)]
        if changed:
            text = f"{', '.join(changed)}: another session has changed what is there"
            raise Refused("changed", text, "read it again and repeat the change", paths=changed)
        for file in files:
            mode, owner = int(file.get("mode") or 0o644), file.get("owner") or ""
            _write(folder, file["path"], file["text"], mode, owner)
        if plan is not None:
            _write(folder, "plan.json", json.dumps(plan), 0o600)


@contextlib.contextmanager
def _write_lock(folder: Folder, patience: float) -> Iterator[None]:
    """Hold the lock on the files of the node folder. Raises Refused."""
    path = folder.path("files.lock")
    try:
        folder.make()
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise refusal(error, path) from error
    try:
        deadline = time.monotonic() + patience
        while not try_flock(fd):
            if time.monotonic() > deadline:
                raise Refused("busy", f"another session has been writing files for {patience:g} s")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _is_as_expected(folder: Folder, file: dict[str, Any]) -> bool:
    expected = file.get("expect")
    return expected is None or read_file(folder, file["path"])["sha"] == expected


def read_file(folder: Folder, relative: str) -> dict[str, Any]:
    """``{path, text, sha}`` of one file: text null and sha empty where it is missing. Raises Refused."""
    path = _place(folder, relative)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return {"path": relative, "text": None, "sha": ""}
    except OSError as error:
        raise refusal(error, path) from error
    if len(data) > LARGEST:
        raise Refused("request", f"{path} is larger than {LARGEST} bytes")
    import hashlib  # noqa: PLC0415 - most sessions hash nothing

    text = data.decode("utf-8", "replace")
    return {"path": relative, "text": text, "sha": hashlib.sha256(data).hexdigest()}


def _place(folder: Folder, path: str) -> str:
    """Where a file is: its own absolute path, or its place in the node folder. Raises Refused."""
    if not path.startswith("/"):
        return folder.inside(path)
    if os.path.normpath(path) != path:
        raise Refused("request", f"{path!r} is not a plain path")
    return path


def _write(folder: Folder, given: str, text: str, mode: int, owner: str = "") -> None:
    path = _place(folder, given)
    try:
        if path != given:
            folder.make(os.path.dirname(given))
        if os.path.isdir(path):
            raise Refused("request", f"{path} is a folder", "write the path of a file")
        write_atomic(path, text.encode(), mode, owner)
    except LookupError as error:
        raise Refused(
            "request", f"{path}: {error}", f"create {owner} on the node, or change owner"
        ) from error
    except OSError as error:
        raise refusal(error, path) from error


def forget(folder: Folder, names: list[str], *, everything: bool, logs: bool) -> None:
    """Remove the state of stopped processes. Raises Refused, and removes nothing, where one of them lives.

    What another host wrote is not ours to judge: it counts as alive.
    """
    seen = [observe_process(folder, name) for name in (folder.names() if everything else names)]
    chosen = [found for found in seen if found is not None]
    for found in chosen:
        if not is_known(found):
            raise Refused(found["state"], found["problem"], found["hint"])
        if found["state"] in ALIVE or found["left"]:
            text = f"{found['name']} is still running (pid {found['pid']})"
            raise Refused("running", text, "dplaunch down")
    for name in [found["name"] for found in chosen]:
        _sweep(folder, name)
        _forget(folder.proc(name), logs=logs)
    if everything:
        remove(folder.path("plan.json"))


def _sweep(folder: Folder, name: str) -> None:
    """Remove the shared memory of a process that was killed together with its guard."""
    state = load_state(folder, name)
    if state is None or not state["shared"] or state["boot"] != proc.boot_id():
        return
    from .segments import Segments  # noqa: PLC0415 - few sessions need it

    Segments(state["started_at"], state["shared"]).sweep()


def _forget(home: str, *, logs: bool) -> None:
    for name in ("state.json", "exit.json", "stop.json", "guard", "guard.log"):
        remove(os.path.join(home, name))
    if not os.path.isdir(home):
        return
    if not logs:
        log.begin_run(home)
        return
    for name in os.listdir(home):
        remove(os.path.join(home, name))
    os.rmdir(home)


_LINE = 16 << 10
"""Bytes that a line may have: only so much per line is read from the end of the file."""


def append(folder: Folder, path: str, line: str, limit: int) -> None:
    """Add one line to a file; a file over ``limit`` bytes is renamed to ``.1`` first. Raises Refused."""
    try:
        folder.make()
        if os.path.exists(path) and os.path.getsize(path) > limit:
            os.rename(path, path + ".1")
        with opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
            write_all(fd, line.encode() + b"\n")
    except OSError as error:
        raise refusal(error, path) from error


def read_last_objects(path: str, count: int) -> list[dict[str, Any]]:
    """The last ``count`` JSON objects of a file with one per line; broken lines are skipped."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max(1, count) * _LINE))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = [parse_object(line) for line in lines[-count:]] if count > 0 else []
    return [one for one in found if one is not None]
