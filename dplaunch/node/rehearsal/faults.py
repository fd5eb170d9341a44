"""The knobs that act beside the engine: crash, flood, orphans, title."""

from __future__ import annotations

import os
import signal
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .knobs import Knobs

FLOOD_BEAT = 0.1
"""Seconds between two bursts of flood lines."""


def arm(knobs: Knobs, log: Callable[[str], None], die: Callable[[], None]) -> None:
    """Start every fault that the knobs ask for. Orphans first: they are forked before any thread runs.

    ``log`` writes one line of the engine's log, ``die`` what the engine logs when it crashes.
    """
    leave_orphans(knobs.orphans)
    if knobs.title:
        set_title(knobs.title)
    if knobs.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if knobs.crash_after >= 0:
        threading.Thread(target=_crash, args=(knobs, die), daemon=True).start()
    if knobs.log_flood > 0:
        threading.Thread(target=_flood, args=(knobs.log_flood, log), daemon=True).start()


def leave_orphans(count: int) -> None:
    """Children in sessions of their own, which outlive this process for an hour."""
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            os.execvp("sleep", ["sleep", "3600"])  # noqa: S606 - a harmless child is the fault


def set_title(title: str) -> None:
    """Write the title over argv and environment, as setproctitle does: /proc/PID/environ is gone then.

    The kernel shows where both lie (fields 48 to 51 of /proc/PID/stat); otherwise only the comm changes.
    """
    try:
        with open("/proc/self/comm", "w", encoding="utf-8") as short:
            short.write(title[:15])
        with open("/proc/self/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[48])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(title.encode()[: end - start - 1].ljust(end - start, b"\0"))
    except OSError:
        return


def _crash(knobs: Knobs, die: Callable[[], None]) -> None:
    time.sleep(knobs.crash_after)
    if knobs.crash_signal:
        os.kill(os.getpid(), getattr(signal, "SIG" + knobs.crash_signal.replace("SIG", "", 1)))
        return
    if knobs.exit_code:
        die()
    os._exit(knobs.exit_code)


def _flood(lines_per_second: float, log: Callable[[str], None]) -> None:
    sent, began = 0, time.monotonic()
    while True:
        time.sleep(FLOOD_BEAT)
        due = int((time.monotonic() - began) * lines_per_second)
        for index in range(sent, due):
            log(f"flood line {index}")
        sent = due
