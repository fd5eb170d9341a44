"""Files of the node folder: put, forget, append."""

from __future__ import annotations

import json
import os

from . import log, observe
from .store import Folder, Refused, refusal, remove, write_all, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def put(folder: Folder, files: list[dict[str, Any]], plan: dict[str, Any] | None) -> None:
    """Write ``files`` ({path, text, mode}, paths relative), then plan.json. Raises Refused."""
    for file in files:
        _write(folder, file["path"], file["text"], int(file.get("mode") or 0o644))
    if plan is not None:
        _write(folder, "plan.json", json.dumps(plan), 0o600)


def _write(folder: Folder, relative: str, text: str, mode: int) -> None:
    words = relative.split("/")
    if relative.startswith("/") or ".." in words or not words[-1]:
        raise Refused("request", f"{relative!r} is no path inside the node folder")
    path = folder.path(relative)
    try:
        folder.make(*words[:-1])
        write_atomic(path, text.encode(), mode)
    except OSError as error:
        raise refusal(error, path) from error


def forget(folder: Folder, names: list[str], *, everything: bool, logs: bool) -> None:
    """Remove the state of stopped processes. Raises Refused, nothing removed, where one of them lives."""
    chosen = folder.names() if everything else names
    for name in chosen:
        found = observe.process(folder, name)
        if found and (found["state"] in observe.ALIVE or found["left"]):
            raise Refused("running", f"{name} still runs (pid {found['pid']})", f"dplaunch down {name}")
    for name in chosen:
        _forget(folder.proc(name), logs=logs)
    if everything:
        remove(folder.path("plan.json"))


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
"""Bytes that a line is read with; the reader needs no more of a longer file."""


def append(folder: Folder, path: str, line: str, limit: int) -> None:
    """One line at the end of a file; one that grew over ``limit`` bytes becomes ``.1``. Raises Refused."""
    try:
        folder.make()
        if os.path.exists(path) and os.path.getsize(path) > limit:
            os.rename(path, path + ".1")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            write_all(fd, line.encode() + b"\n")
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(error, path) from error


def last_objects(path: str, count: int) -> list[dict[str, Any]]:
    """The last ``count`` JSON objects of a file with one per line; broken lines are left out."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max(1, count) * _LINE))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = [_object(line) for line in lines[-count:]] if count > 0 else []
    return [one for one in found if one is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
