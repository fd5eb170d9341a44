"""First code on a node: unpacks the bundle once, then runs the guard's session.

It arrives as text before the bundle (see ``dplaunch.wire``), so it may import nothing of ours.
"""

from __future__ import annotations

import importlib
import io
import os
import sys


def boot(header: dict[str, str], stdin: io.BufferedReader) -> int:
    """Reads the bundle from stdin (it is always sent), finds or makes its folder, runs a session.

    ``header``: ``bundle`` (sha256), ``size`` (bytes), ``cluster``, ``node``, ``state`` (state home or null).
    Returns the exit code.
    """
    size = int(header["size"])
    data = stdin.read(size)
    if len(data) < size:
        return 1  # the launcher went away in the middle
    folder = os.path.join(state_home(header.get("state")), "dplaunch", "lib", header["bundle"])
    passing = None
    if not os.path.isdir(folder):
        try:
            unpack(data, folder)
        except OSError:  # full, read-only, not ours: the guard says so in its hello
            folder = passing = temporary(data)
    return run(header, folder, passing)


def state_home(given: str | None) -> str:
    """Where state lives: as given, $XDG_STATE_HOME, or ~/.local/state."""
    return (
        given or os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    )


def unpack(data: bytes, folder: str) -> None:
    """Writes the bundle's files to ``folder`` by rename; whoever comes second finds it done."""
    import shutil  # noqa: PLC0415 - only the first session on a node pays for these
    import tempfile  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    parent = os.path.dirname(folder)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    half = tempfile.mkdtemp(prefix=".new-", dir=parent)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            bundle.extractall(half)
        os.rename(half, folder)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        if not os.path.isdir(folder):
            raise


def temporary(data: bytes) -> str:
    """A folder for this session only, in memory if there is such a place."""
    import tempfile  # noqa: PLC0415 - hardly ever needed

    for place in ("/dev/shm", None):  # noqa: S108 - mkdtemp makes a name of its own, mode 0700
        try:
            base = tempfile.mkdtemp(prefix="dplaunch-", dir=place)
        except OSError:
            continue
        folder = os.path.join(base, "lib")
        unpack(data, folder)
        return folder
    raise OSError("no folder on this node can be written to")


def run(header: dict[str, str], folder: str, passing: str | None) -> int:
    """The guard's session on stdin and stdout. Only this process removes a passing folder, no fork of it."""
    sys.path.insert(0, folder)
    me = os.getpid()
    try:
        session = importlib.import_module("guard.session")  # top-level in the bundle only
        return int(session.main(header, 0, 1))
    finally:
        if passing and os.getpid() == me:
            import shutil  # noqa: PLC0415

            shutil.rmtree(os.path.dirname(passing), ignore_errors=True)
