"""FastDeploy's logs: the console, and files of their own below FD_LOG_DIR."""

from __future__ import annotations

import os
import time

from ..vllm.log import ERR, OUT, write


class Log:
    """Lines of one process: ``console`` goes to its output, ``file`` to FD_LOG_DIR."""

    def __init__(self, env: dict[str, str]) -> None:
        self.folder = env.get("FD_LOG_DIR") or "log"
        os.makedirs(self.folder, exist_ok=True)

    def console(self, text: str, level: str = "INFO") -> None:
        """A line of the console logger."""
        write(OUT, f"{level:8} {_stamp()} {os.getpid()} {text}")

    def plain(self, text: str) -> None:
        """A line of uvicorn."""
        write(OUT, text)

    def uncaught(self, text: str) -> None:
        """An uncaught exception; ``text`` is its last line."""
        write(ERR, f"Traceback (most recent call last):\n{text}")

    def file(self, name: str, place: str, text: str, level: str = "INFO") -> None:
        """A line of ``name``, a file below FD_LOG_DIR."""
        line = f"{level:8} {_stamp()} {os.getpid()} {place} {text}\n"
        path = os.path.join(self.folder, name)
        with open(path, "ab", buffering=0) as file:
            file.write(line.encode())


def _stamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f",{int(now % 1 * 1000):03d}"
