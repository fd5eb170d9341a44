"""The cluster's lock: a flock, so that it ends with its session however that ends."""

from __future__ import annotations

import fcntl
import os
import time

from . import proc
from .store import Folder, Refused, read_json, refusal, remove, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Lock:
    """One session's hold on the node folder's lock."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._fd = -1

    def take(self, holder: str, what: str) -> None:
        """Take the lock. Raises Refused ``locked``, with the holder's note, while another session has it."""
        if self._fd < 0:
            self._fd = self._flock()
        me = proc.read(os.getpid())
        note = {"holder": holder, "what": what, "since": time.time(), "pid": os.getpid()}
        note.update(start=me.start if me else 0, host=proc.hostname(), boot=proc.boot_id())
        path = self.folder.path("lock.json")
        try:
            write_json(path, note)
        except OSError:
            remove(path)  # a full disk must not prevent a stop; no note is better than a wrong one

    def _flock(self) -> int:
        try:
            fd = self._open()
        except OSError as error:
            raise refusal(error, self.folder.root) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            held = read_json(self.folder.path("lock.json")) or {}
            who, what = held.get("holder", "another session"), held.get("what", "a command")
            text = f"{who} is running {what} on this cluster"
            hint = "wait for it; the lock ends by itself when its launcher is gone"
            raise Refused("locked", text, hint, lock=held) from error
        except OSError as error:
            os.close(fd)
            raise refusal(error, self.folder.path("lock")) from error
        return fd

    def _open(self) -> int:
        path = self.folder.path("lock")
        try:
            self.folder.make()
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            if not os.path.exists(path):
                raise
            return os.open(path, os.O_RDONLY)  # an existing file can be locked on a read-only disk too

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._fd >= 0:
            remove(self.folder.path("lock.json"))
            os.close(self._fd)
            self._fd = -1


def find_holder(folder: Folder) -> dict[str, Any]:
    """Who holds the lock: holder, what, since, pid; empty while it is free."""
    note = read_json(folder.path("lock.json")) or {}
    pid, start, boot = note.get("pid"), note.get("start"), note.get("boot")
    if not isinstance(pid, int) or not isinstance(start, int):
        return {}
    here = boot == proc.boot_id()
    if (here and not proc.alive(pid, start)) or (not here and note.get("host") == proc.hostname()):
        return {}
    return note
