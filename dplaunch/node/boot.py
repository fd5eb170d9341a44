"""First code on a node: finds the bundle, or unpacks it, and runs the guard's session.

It arrives as text before the bundle (see ``dplaunch.wire``), so it may import nothing of ours; each session
compiles it, so what only the first one needs is in ``unpack.py``, which comes as text too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any


def boot(stdin: io.BufferedReader) -> None:
    """Reads a line ``HOME SHA UNPACK SIZE``, then UNPACK bytes of Python and the bundle, SIZE bytes.

    HOME is the state home in hex, ``-`` for the node's own. The session reads what follows. Never returns.
    """
    home, sha, code, size = stdin.readline().decode().split()
    text, data = stdin.read(int(code)), stdin.read(int(size))
    if len(data) < int(size):
        os._exit(1)  # the launcher went away meanwhile
    place = os.path.join(state_home(bytes.fromhex(home.strip("-")).decode()), "dplaunch", "lib", sha)
    passing = ""
    if not os.path.isdir(place):
        tools: dict[str, Any] = {}
        exec(text, tools)  # noqa: S102 - ours, as this is
        place, passing = tools["settle"](data, place)
    sys.path.insert(0, place)
    me = os.getpid()
    try:
        session = __import__("guard.session").session  # top-level in the bundle only
        status = session.run_from(0, 1)
    finally:
        if passing and os.getpid() == me:  # not in a fork of it
            tools["remove"](passing)
    sys.stderr.flush()
    os._exit(status)  # nothing is buffered, so nothing has to be tidied up


def state_home(given: str) -> str:
    """The state home: as given, $XDG_STATE_HOME, or ~/.local/state."""
    return (
        given or os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    )
