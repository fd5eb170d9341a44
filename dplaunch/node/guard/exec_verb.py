"""``exec``: one command on the node; its output and every wait for it are bounded, and it is always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

from .spawn import BUNDLE
from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from .call import Call

OUTPUT = 1 << 20
"""Bytes kept of each stream."""
DIES = 1.0
"""Seconds to wait for a killed command: one that hangs in a broken driver never ends."""
CLOSES = 1.0
"""Seconds to wait for the end of its output: a daemon that it left may hold the pipes for ever."""


def answer(call: Call) -> dict[str, Any]:
    """The verb ``exec``: ``argv`` in the node folder, ``timeout`` seconds (60)."""
    argv, home = call.get("argv"), call.folder.root
    if not argv:
        raise Refused("request", "exec needs argv, a list of words")
    return run(argv, home if os.path.isdir(home) else "/", float(call.get("timeout", 60.0)), call.over)


def run(argv: list[str], cwd: str, timeout: float, over: Callable[[], bool]) -> dict[str, Any]:
    """``{code, out, err}``; a command killed by signal n has code -n.

    Raises Refused: exec, timeout, unkillable.
    """
    try:
        command = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, "DPLAUNCH_BUNDLE": BUNDLE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused("exec", f"{argv[0]} cannot be executed: {error.strerror}") from error
    kept = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_drain, args=(command.stdout, kept[0]), daemon=True),
        threading.Thread(target=_drain, args=(command.stderr, kept[1]), daemon=True),
    ]
    for reader in readers:
        reader.start()
    code = _wait(command, time.monotonic() + timeout, over)
    closed = time.monotonic() + CLOSES
    for reader in readers:
        reader.join(max(0.0, closed - time.monotonic()))
    late = f"{argv[0]} did not end within {timeout:g} s"
    if code is None and command.returncode is None:
        raise Refused("unkillable", f"{late} and could not be killed", "look in dmesg for what it waits for")
    if code is None:
        raise Refused("timeout", f"{late} and was killed")
    out, err = (bytes(keep).decode("utf-8", "replace") for keep in kept)
    return {"code": code, "out": out, "err": err}


def _drain(pipe: IO[bytes], keep: bytearray) -> None:
    while True:
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            return
        keep += data[: OUTPUT - len(keep)]


def _wait(command: subprocess.Popen[bytes], deadline: float, over: Callable[[], bool]) -> int | None:
    """Its exit code; None when it had to be killed, and then ``returncode`` is None if even that failed."""
    look = 0.005
    while command.poll() is None:
        if time.monotonic() > deadline or over():
            _kill(command)
            return None
        look = min(2 * look, 0.1)
        try:
            command.wait(look)
        except subprocess.TimeoutExpired:
            continue
    return command.returncode


def _kill(command: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # a process of another user
        os.killpg(command.pid, signal.SIGKILL)  # it leads a session of its own
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(DIES)
