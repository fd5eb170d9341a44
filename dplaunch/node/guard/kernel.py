"""What the standard library lacks: child subreaper and hole punching, by ctypes where this Python has it."""

from __future__ import annotations

import errno
import os

try:
    import ctypes
except ImportError:  # a Python built without libffi
    _libc = None
else:
    _libc = ctypes.CDLL(None, use_errno=True)

PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01


def become_guard() -> bool:
    """Orphans below this process become its children; its name in ``ps`` is ``dplaunch-guard``.

    Without a child it then has no descendant. False where the kernel refuses: orphans go to init, and the
    recorded tree finds them.
    """
    if _libc is None:
        return False
    _libc.prctl(PR_SET_NAME, b"dplaunch-guard", 0, 0, 0)
    return bool(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def punch(fd: int, start: int, length: int) -> None:
    """Give a range of a file back to its disk, size and offsets kept. Raises OSError where unsupported."""
    if _libc is None:
        raise OSError(errno.ENOTSUP, "this Python has no ctypes")
    fallocate = _libc.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(fd, PUNCH_HOLE_KEEP_SIZE, start, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
