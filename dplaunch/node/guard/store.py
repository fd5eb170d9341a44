"""The node folder: paths, JSON by rename, and what a refusal is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_LATER = _FIRST | frozenset("._-@")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_unique = itertools.count()
_LEVELS = 64
"""Nesting of JSON that is read; ours has less than ten levels."""


class Refused(Exception):  # noqa: N818 - an answer to the launcher, not a fault of ours
    """A request that is not carried out: ``kind`` for programs, ``text`` and ``hint`` for people."""

    def __init__(self, kind: str, text: str, hint: str = "", **more: Any) -> None:
        super().__init__(text)
        self.error = {"kind": kind, "text": text, "hint": hint, **more}


def refusal(error: OSError, path: str) -> Refused:
    """An error of the operating system at ``path`` as a refusal of kind full, read-only or io."""
    why, place = error.strerror or str(error), existing(path)
    if error.errno in _FULL:
        return Refused("full", f"{path} cannot be written: {why}", f"free space there: df -h {place}")
    if error.errno == errno.EROFS:
        hint = f"remount it writable there: findmnt -T {place}"
        return Refused("read-only", f"{path} cannot be written: {why}", hint)
    if error.errno in _FORBIDDEN:
        hint = f"make it writable for the ssh user: ls -ld {place}"
        return Refused("read-only", f"{path} cannot be written: {why}", hint)
    return Refused("io", f"{path}: {why}", f"look at it on the node: ls -ld {place}")


def existing(path: str) -> str:
    """The nearest folder above ``path`` that exists, or ``path`` itself."""
    while not os.path.isdir(path) and path not in ("", "/"):
        path = os.path.dirname(path)
    return path or "/"


class Folder:
    """The state of one node of one cluster, below ``root``."""

    def __init__(self, root: str) -> None:
        self.root = root

    def path(self, *parts: str) -> str:
        """A path below the node folder."""
        return os.path.join(self.root, *parts)

    def proc(self, name: str, *parts: str) -> str:
        """A path below the folder of one process. Raises Refused for an invalid name."""
        if not isinstance(name, str) or not _is_name(name):
            raise Refused(
                "request", f"{name!r} is not a process name", "use letters, digits, '.', '_', '-' and '@'"
            )
        return os.path.join(self.root, "proc", name, *parts)

    def inside(self, relative: str) -> str:
        """The absolute path of a file below the node folder. Raises Refused for any other place."""
        words = relative.split("/")
        if ".." in words or not words[0] or not words[-1]:
            raise Refused("request", f"{relative!r} is not a path inside the node folder")
        return self.path(relative)

    def names(self) -> list[str]:
        """Every process that has or had state here, sorted."""
        try:
            found = os.listdir(self.path("proc"))
        except OSError:
            return []
        return sorted(name for name in found if _is_name(name) and self._has_state(name))

    def _has_state(self, name: str) -> bool:
        """Its state, or the lock of a guard whose state was removed."""
        return any(os.path.exists(self.proc(name, file)) for file in ("state.json", "guard"))

    def make(self, *parts: str) -> str:
        """Make a folder below the node folder, 0700. Raises OSError."""
        path = self.path(*parts)
        for folder in (self.root, path):
            if not os.path.isdir(folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
        return path

    def problem(self) -> str:
        """Why nothing can be written here; empty when it can. Leaves nothing behind."""
        base = existing(self.root)
        try:
            _try_to_write(base)
        except OSError as error:
            return f"{base} cannot be written: {error.strerror}"
        owner = os.stat(base).st_uid
        if base == self.root and os.getuid() not in (0, owner):
            return f"{base} belongs to user id {owner}, but this session runs as {os.getuid()}"
        return ""


def _is_name(text: str) -> bool:
    return text[:1] in _FIRST and _LATER.issuperset(text)


def _try_to_write(folder: str) -> None:
    path = f"{folder}/.dplaunch-{os.getpid()}"
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        try:
            os.write(fd, b"x")
        finally:
            os.unlink(path)


def write_atomic(path: str, data: bytes, mode: int = 0o600, owner: str = "") -> None:
    """Readers see the old file or the new one. Raises OSError, LookupError for a user that there is not.

    ``owner``: ``user`` or ``user:group``. A failure leaves nothing behind.
    """
    temporary = f"{path}.{os.getpid()}.{next(_unique)}.tmp"
    try:
        with opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode) as fd:
            os.fchmod(fd, mode)
            write_all(fd, data)
        if owner:
            import shutil  # noqa: PLC0415 - few files have an owner of their own

            user, _, group = owner.partition(":")
            shutil.chown(temporary, user, group or None)
        os.rename(temporary, path)
    except (OSError, LookupError):
        remove(temporary)
        raise


@contextlib.contextmanager
def opened(path: str, flags: int, mode: int = 0o600) -> Iterator[int]:
    """A descriptor of a file, closed at the end. Raises OSError."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, however many writes that takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Write one JSON object by rename. Raises OSError."""
    write_atomic(path, json.dumps(value).encode())


def read_json(path: str) -> dict[str, Any] | None:
    """The JSON object in a file; None when it is missing or unreadable: such state is never acted on."""
    try:
        with open(path, "rb") as file:
            return parse_object(file.read())
    except OSError:
        return None


def parse_object(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else, also where it is nested too deep to be sent on."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and is_shallow(value) else None


def is_shallow(value: Any, levels: int = _LEVELS) -> bool:
    """Whether lists and objects are nested at most ``levels`` deep."""
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list) or (levels > 0 and all(is_shallow(one, levels - 1) for one in value))


def try_flock(fd: int) -> bool:
    """Lock an open file until it is closed; False while another has it. A file system without locks: True."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def remove(path: str) -> None:
    """Unlink; a missing file is not an error."""
    try:
        os.unlink(path)
    except OSError:
        return
