"""Lines as MindIE LLM's logger writes them, and the end of a process that has failed."""

from __future__ import annotations

import os
import time


class FatalError(Exception):
    """An end with the real program's last words: ``lines`` are logged, ``text`` is the exception line."""

    def __init__(self, text: str, *lines: str) -> None:
        super().__init__(text)
        self.text = text
        self.lines = lines


class Log:
    """Writes to the process's own streams, one write per line, so that none is torn when it dies."""

    def __init__(self, module: str) -> None:
        self.module = module

    def say(self, place: str, text: str) -> None:
        """``[2026-04-25 10:01:17,340] [77] [281] [llm] [INFO] [dist.py-71] : text``."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f",{int(now % 1 * 1000):03d}"
        _write(1, f"[{stamp}] [{os.getpid()}] [{os.getpid()}] [{self.module}] [INFO] [{place}] : {text}")

    def plain(self, text: str) -> None:
        """A line that is not the logger's."""
        _write(1, text)

    def fail(self, failure: FatalError) -> int:
        """Log a failure as a Python traceback; the exit code."""
        for line in failure.lines:
            _write(2, line)
        _write(2, f"Traceback (most recent call last):\n{failure.text}")
        return 1


def _write(stream: int, text: str) -> None:
    os.write(stream, text.encode() + b"\n")
