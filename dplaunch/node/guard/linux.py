"""What the standard library lacks: child subreaper, hole punching, who this machine is."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01


def _libc() -> Any:
    import ctypes  # 6 ms: only where something is started

    return ctypes.CDLL(None, use_errno=True)


def become_guard() -> bool:
    """Orphans below this process become its children; its name in ``ps`` is ``dplaunch-guard``.

    False where this Python has no ctypes or the kernel no subreaper: orphans then go to init,
    and the recorded tree finds them.
    """
    try:
        libc = _libc()
    except (ImportError, OSError):
        return False
    libc.prctl(PR_SET_NAME, b"dplaunch-guard", 0, 0, 0)
    return bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def punch(fd: int, start: int, length: int) -> None:
    """Give a range of a file back to its disk, size and offsets kept. Raises OSError where unsupported."""
    try:
        import ctypes

        libc = _libc()
    except ImportError as missing:
        raise OSError(errno.ENOTSUP, "this Python has no ctypes") from missing
    fallocate = libc.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(fd, PUNCH_HOLE_KEEP_SIZE, start, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def hostname() -> str:
    """The name this machine gives itself."""
    return os.uname().nodename


def boot_id() -> str:
    """Changes with every boot; empty where the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
