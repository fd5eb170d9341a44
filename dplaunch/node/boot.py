"""First code on a node: finds the bundle, or asks for it, and runs the guard's session.

It arrives as text (see ``dplaunch.wire``), so it may import nothing of ours; each session compiles it, so
what only the first one needs is in ``unpack.py``, which comes as text too.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any


def boot(stdin: io.BufferedReader) -> None:
    """Reads a line ``HOME SHA UNPACK SIZE FILES`` and the session's header, runs the session, never returns.

    HOME is the state home in hex, ``-`` for the node's own. Where the bundle, whose files have FILES bytes,
    is not there, it is asked for: UNPACK bytes of Python and SIZE bytes of the bundle follow.
    """
    home, sha, code, size, files = stdin.readline().decode().split()
    header = stdin.readline()
    place = os.path.join(state_home(bytes.fromhex(home.strip("-")).decode()), "dplaunch", "lib", sha)
    passing = ""

    def is_good(place: str) -> bool:
        return is_ours(place) and is_whole(place, int(files))

    if not is_good(place):
        os.write(1, b'{"event": "unpack"}\n')
        text, data = stdin.read(int(code)), stdin.read(int(size))
        if len(data) < int(size):
            os._exit(1)  # the launcher went away meanwhile
        tools: dict[str, Any] = {}
        exec(text, tools)  # noqa: S102 - ours, as this is
        place, passing = tools["settle"](data, place, is_good)
    sys.path.insert(0, place)
    me = os.getpid()
    try:
        session = __import__("guard.session").session  # top-level in the bundle only
        status = session.run_from(header, 0, 1)
    finally:
        if passing and os.getpid() == me:  # not in a fork of it
            tools["remove"](passing)
    sys.stderr.flush()
    os._exit(status)  # nothing is buffered, so nothing has to be tidied up


def is_ours(place: str) -> bool:
    """Whether nobody else can put code there: it and the two folders above are ours alone to write.

    The lower ones may be links: who made them could write to the folder that they are in.
    """
    lib = os.path.dirname(place)
    try:
        found = [os.stat(place), os.stat(lib), os.lstat(os.path.dirname(lib))]
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return all(
        stat.S_ISDIR(one.st_mode) and one.st_uid == os.geteuid() and not one.st_mode & others for one in found
    )


def is_whole(place: str, size: int) -> bool:
    """Whether its files have ``size`` bytes: a power cut leaves empty files or zeros, a cleaner fewer."""
    found = 0
    try:
        for folder, _, names in os.walk(place):
            for name in names if os.path.basename(folder) != "__pycache__" else ():
                with open(os.path.join(folder, name), "rb", buffering=0) as file:
                    data = file.readall()
                found += len(data) if b"\0" not in data else size + 1
    except OSError:
        return False  # unreadable, or replaced by another session at this moment
    return found == size


def state_home(given: str) -> str:
    """The state home: as given, $XDG_STATE_HOME, or ~/.local/state."""
    return (
        given or os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    )
