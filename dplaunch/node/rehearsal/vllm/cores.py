"""The engine cores of a process that has several ranks: a process for each, as in vLLM.

They compute nothing: they are there to be found, and to be killed. One that is gone takes the engine with it.
They end with the process that started them, whatever ended it.
"""

from __future__ import annotations

import os
import signal
import threading

from ..faults import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .parallel import Parallel


class Cores:
    """Started before any thread runs, because they are forked; ``watch`` reports the first that died."""

    def __init__(self, parallel: Parallel) -> None:
        self._pids: dict[str, int] = {}
        self._ours, self._theirs = os.pipe()
        for rank in parallel.ranks if parallel.local > 1 or parallel.headless else ():
            name = f"EngineCore_DP{rank}"
            self._pids[name] = os.fork() or self._play(name)

    def watch(self, died: Callable[[str], None]) -> None:
        """Call ``died`` with the name of each core that ends."""
        for name, pid in self._pids.items():
            threading.Thread(target=_wait, args=(name, pid, died), daemon=True).start()

    def _play(self, name: str) -> int:
        """Wait until the parent is gone."""
        os.close(self._theirs)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        set_title(f"VLLM::{name}")
        os.read(self._ours, 1)
        os._exit(0)


def _wait(name: str, pid: int, died: Callable[[str], None]) -> None:
    os.waitpid(pid, 0)
    died(name)
