"""Write a bundle's files once, when its first session on a node has run ``boot.py``.

It arrives as text, so it may import nothing of ours.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import tempfile
import time
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS = 10


def settle(data: bytes, folder: str, is_good: Callable[[str], bool]) -> tuple[str, str]:
    """The folder with the bundle's files, and one to remove after this session (mostly none)."""
    try:
        unpack(data, folder, is_good)
        for _ in range(_LOOKS):  # another session may be putting its own in place
            if is_good(folder):
                return folder, ""
            time.sleep(0.02)
    except OSError:
        pass  # full, read-only: the guard reports it in its hello
    passing = temporary(data)
    return passing, os.path.dirname(passing)


def unpack(data: bytes, folder: str, is_good: Callable[[str], bool] = lambda _: False) -> None:
    """Writes the bundle's files to ``folder`` by rename, in place of what is there and is not good."""
    parent = os.path.dirname(folder)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    for above in (parent, os.path.dirname(parent)):  # a umask may have left them open to others
        os.chmod(above, stat.S_IMODE(os.stat(above).st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    half = tempfile.mkdtemp(prefix=".new-", dir=parent)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            bundle.extractall(os.path.join(half, "new"))
        _put_in_place(half, folder, is_good)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _put_in_place(half: str, folder: str, is_good: Callable[[str], bool]) -> None:
    """Another session may have been faster: it is importing its files, so they stay where they are."""
    new = os.path.join(half, "new")
    with contextlib.suppress(OSError):
        os.rename(new, folder)  # refused where there are files
        return
    if is_good(folder):
        return
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, os.path.join(half, "old"))
    with contextlib.suppress(OSError):
        os.rename(new, folder)


def temporary(data: bytes) -> str:
    """A folder for this session only, in memory if there is such a place."""
    for place in ("/dev/shm", None):  # noqa: S108 - mkdtemp makes a name of its own, mode 0700
        try:
            base = tempfile.mkdtemp(prefix="dplaunch-", dir=place)
        except OSError:
            continue
        folder = os.path.join(base, "lib")
        unpack(data, folder)
        return folder
    raise OSError("no folder on this node can be written to")


def remove(folder: str) -> None:
    """Removes what was unpacked for one session."""
    shutil.rmtree(folder, ignore_errors=True)
