"""The engine's log: one write per line, in vLLM's own form."""

from __future__ import annotations

import os
import time

API, CORE = "APIServer", "EngineCore"
MAIN = "MainProcess"
"""What a process without a server calls itself."""
OUT, ERR = 1, 2


class Log:
    """Writes to the process's own streams, unbuffered, so that no line is lost or torn when it dies.

    Process names appear in front of a line from 0.10 on; all of them have this process's id, because
    the rehearsal plays server, core and workers in one process.
    """

    def __init__(self, release: tuple[int, ...], rank: int = 0, server: str = API) -> None:
        self.named = release >= (0, 10)
        self.rank = rank
        self.server = server
        """What the server is called: by another name below a supervisor."""

    def prefix(self, who: str) -> str:
        """``(EngineCore_DP3 pid=77) ``; empty on releases that did not name their processes."""
        names = {CORE: f"{CORE}_DP{self.rank}", API: self.server}
        name = names.get(who, who)
        return f"({name} pid={os.getpid()}) " if self.named else ""

    def info(self, who: str, place: str, text: str) -> None:
        """``(APIServer pid=7) INFO 11-22 10:00:00 [api_server.py:1287] text``."""
        self._levelled(who, "INFO", place, text)

    def debug(self, who: str, place: str, text: str) -> None:
        """As info, at level DEBUG; the engine shows it only when asked to."""
        if os.environ.get("VLLM_LOGGING_LEVEL", "").upper() == "DEBUG":
            self._levelled(who, "DEBUG", place, text)

    def warning(self, who: str, place: str, text: str) -> None:
        """As info, at level WARNING."""
        self._levelled(who, "WARNING", place, text)

    def error(self, who: str, place: str, text: str) -> None:
        """As info, at level ERROR; each line of ``text`` gets its own prefix, as vLLM's tracebacks do."""
        for line in text.splitlines():
            self._levelled(who, "ERROR", place, line)

    def plain(self, who: str, text: str) -> None:
        """A line that is not the logger's: uvicorn, progress bars."""
        write(OUT, f"{self.prefix(who)}{text}")

    def traceback(self, who: str, text: str) -> None:
        """An uncaught exception on stderr; ``text`` is its last line."""
        place = f'  File "{__name__}", line 1, in serve'
        write(ERR, f"{self.prefix(who)}Traceback (most recent call last):\n{self.prefix(who)}{place}")
        for line in text.splitlines():
            write(ERR, f"{self.prefix(who)}{line}")

    def _levelled(self, who: str, level: str, place: str, text: str) -> None:
        stamp = time.strftime("%m-%d %H:%M:%S")
        write(OUT, f"{self.prefix(who)}{level} {stamp} [{place}] {text}")


def write(stream: int, text: str) -> None:
    """One line to a file descriptor; a reader that went away is not our failure."""
    try:
        os.write(stream, (text + "\n").encode("utf-8", "replace"))
    except OSError:
        return
