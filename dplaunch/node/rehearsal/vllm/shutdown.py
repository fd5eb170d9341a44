"""How an engine ends when it is asked to, release by release.

Before 0.18 uvicorn finishes what it answers, however long that takes. From 0.18 on the core ends first:
--shutdown-timeout 0 aborts what runs (the answers end with finish_reason ``abort``), a longer one lets it
finish, and from 0.22 on waits for KV that decode engines have to pull as well (vLLM #43433). When the time
is over the core is killed, and what still streams hangs until its client leaves. Until 0.27 uvicorn stops
listening at once; from 0.28 on the server answers to the end, new completions with an error. Read in vLLM
0.13 to 0.32, and seen in real runs of 0.32.
"""

from __future__ import annotations

import os
import threading
import time

from .completion import RefusalError
from .log import API, CORE, MAIN, Log
from .transfer import STEPS_WHILE_HELD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..web import Server
    from .counters import Counters
    from .group import Group
    from .kv import Producer
    from .settings import Settings

CORE_FIRST = (0, 18)
"""First release that ends its core before its server, and has --shutdown-timeout."""
LISTENS_ON = (0, 28)
"""First release that keeps listening meanwhile (NoSignalServer, vLLM #49668)."""
TAGGED = (0, 23)
"""First release whose lines about it begin with [shutdown]."""
LOOK = 0.02


class Shutdown:
    """The end of one engine. Requests look at its events, ``run`` plays it."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self.release = settings.release
        self.timeout = settings.shutdown_timeout
        self.log = log
        self._refusing = threading.Event()
        self.aborting = threading.Event()
        """What runs ends at once, with finish_reason abort."""
        self.core_gone = threading.Event()
        """Nothing is computed any more: what runs hangs."""

    def refuse(self) -> None:
        """Raise the error that a new completion is answered with once the engine ends."""
        if self._refusing.is_set():
            text = "cannot schedule new futures after shutdown"
            raise RefusalError(500, text, "InternalServerError")

    def run(self, server: Server, counters: Counters, producer: Producer | None, group: Group) -> None:
        """Return when the process may end."""
        if self.release >= CORE_FIRST:
            self._refusing.set()
            if self.release < LISTENS_ON:
                server.close()
            self._end_core(counters, producer, group)
        self._close(server)

    def run_headless(self, group: Group | None) -> None:
        """End a process without a server, when nobody has work left or the time is over."""
        text = f"Waiting up to {self.timeout} seconds for processes to exit"
        self.log.info(MAIN, "serve.py:262", text)
        deadline = time.monotonic() + self.timeout
        while group and not group.leave(LOOK) and time.monotonic() < deadline:
            time.sleep(LOOK)
        self.log.info(MAIN, "serve.py:266", "Shutting down.")

    def _end_core(self, counters: Counters, producer: Producer | None, group: Group) -> None:
        self._log_start(counters.running + counters.waiting)
        if not self.timeout:
            self.aborting.set()
            return
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if not self._works(counters, producer) and group.leave(LOOK):
                text = "request processing complete; starting resource teardown"
                self._log_core(f"[shutdown] EngineCore: {text}", "Shutdown complete")
                return
            time.sleep(LOOK)
        self.core_gone.set()
        if self.release >= TAGGED:
            text = f"[shutdown] Process manager: force killing remaining process EngineCore pid {os.getpid()}"
            self.log.warning(API, "utils.py:653", text)

    def _works(self, counters: Counters, producer: Producer | None) -> bool:
        """Whether requests run, or KV is held that is still to be pulled."""
        held = producer is not None and self.release >= STEPS_WHILE_HELD and producer.shelf.tokens() > 0
        return held or counters.running + counters.waiting > 0

    def _log_start(self, requests: int) -> None:
        timeout, mode = self.timeout, "drain" if self.timeout else "abort"
        if self.release >= TAGGED:
            text = f"[shutdown] API server: stopping engine client mode={mode} timeout={timeout}s"
            self.log.info(API, "launcher.py:270", text)
        self._log_core(
            f"[shutdown] EngineCore: start mode={mode} timeout={timeout}s",
            f"Shutdown initiated (timeout={timeout})",
        )
        if requests and timeout:
            self._log_core(
                f"[shutdown] EngineCore: draining in-flight requests count={requests} timeout={timeout}s",
                f"Draining {requests} in-flight requests (timeout={timeout}s)",
            )
        elif requests:
            self._log_core(
                f"[shutdown] EngineCore: aborting in-flight requests count={requests}",
                f"Aborting {requests} requests",
            )

    def _log_core(self, tagged: str, plain: str) -> None:
        self.log.info(CORE, "core.py:1635", tagged if self.release >= TAGGED else plain)

    def _close(self, server: Server) -> None:
        """End as uvicorn does: what is answered is waited for, without a limit."""
        text = "Shutting down FastAPI HTTP server."
        if self.release >= TAGGED:
            text = "[shutdown] API server: shutting down FastAPI HTTP server"
        self.log.info(API, "launcher.py:304", text)
        self.log.plain(API, "INFO:     Shutting down")
        server.close()
        if server.busy():
            self.log.plain(API, "INFO:     Waiting for connections to close. (CTRL+C to force quit)")
        while server.busy():
            time.sleep(LOOK)
        report_end(self.log)


def report_end(log: Log) -> None:
    """Log uvicorn's last lines."""
    for text in ("Waiting for application shutdown.", "Application shutdown complete."):
        log.plain(API, f"INFO:     {text}")
