"""Files of the node folder: put, forget, append."""

from __future__ import annotations

import json
import os

from . import log
from .observe import ALIVE, observe_process
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
        raise Refused("request", f"{relative!r} is not a path inside the node folder")
    path = folder.path(relative)
    try:
        folder.make(*words[:-1])
        write_atomic(path, text.encode(), mode)
    except OSError as error:
        raise refusal(error, path) from error


def forget(folder: Folder, names: list[str], *, everything: bool, logs: bool) -> None:
    """Remove the state of stopped processes. Raises Refused, and removes nothing, where one of them lives."""
    chosen = folder.names() if everything else names
    for name in chosen:
        found = observe_process(folder, name)
        if found and (found["state"] in ALIVE or found["left"]):
            raise Refused("running", f"{name} is still running (pid {found['pid']})", "dplaunch down")
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
"""Bytes that a line may have: only so much per line is read from the end of the file."""


def append(folder: Folder, path: str, line: str, limit: int) -> None:
    """Add one line to a file; a file over ``limit`` bytes is renamed to ``.1`` first. Raises Refused."""
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


def read_last_objects(path: str, count: int) -> list[dict[str, Any]]:
    """The last ``count`` JSON objects of a file with one per line; broken lines are skipped."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max(1, count) * _LINE))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = [_parse_object(line) for line in lines[-count:]] if count > 0 else []
    return [one for one in found if one is not None]


def _parse_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
