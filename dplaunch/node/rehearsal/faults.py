"""The knobs that act beside the engine: crash, flood, orphans, title."""

from __future__ import annotations

import os
import signal
import threading
import time

from .log import CORE, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .knobs import Knobs

FLOOD_BEAT = 0.1
"""Seconds between two bursts of flood lines."""


def arm(knobs: Knobs, log: Log) -> None:
    """Start every fault that the knobs ask for. Orphans first: they are forked before any thread runs."""
    leave_orphans(knobs.orphans)
    if knobs.title:
        set_title("VLLM::EngineCore" if knobs.title == "1" else knobs.title)
    if knobs.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if knobs.crash_after >= 0:
        _in_background(_crash, knobs, log)
    if knobs.log_flood > 0:
        _in_background(_flood, knobs, log)


def leave_orphans(count: int) -> None:
    """Children in sessions of their own, which outlive this process for an hour."""
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            os.execvp("sleep", ["sleep", "3600"])  # noqa: S606 - a harmless child is the fault


def set_title(title: str) -> None:
    """Write the title over argv and environment, as setproctitle does: /proc/PID/environ is gone then.

    The kernel tells where both lie (fields 48 to 51 of /proc/PID/stat); otherwise only the comm changes.
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


def _in_background(work: object, knobs: Knobs, log: Log) -> None:
    if callable(work):
        threading.Thread(target=work, args=(knobs, log), daemon=True).start()


def _crash(knobs: Knobs, log: Log) -> None:
    time.sleep(knobs.crash_after)
    if knobs.crash_signal:
        os.kill(os.getpid(), getattr(signal, "SIG" + knobs.crash_signal.replace("SIG", "", 1)))
        return
    if knobs.exit_code:
        log.error(CORE, "core.py:715", "EngineCore encountered a fatal error.\nRuntimeError: rehearsed crash")
    os._exit(knobs.exit_code)


def _flood(knobs: Knobs, log: Log) -> None:
    sent, began = 0, time.monotonic()
    while True:
        time.sleep(FLOOD_BEAT)
        due = int((time.monotonic() - began) * knobs.log_flood)
        for number in range(sent, due):
            log.info(CORE, "flood.py:1", f"flood line {number}")
        sent = due
