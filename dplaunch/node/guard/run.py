"""``exec``: one command on the node, its output bounded, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

OUTPUT = 1 << 20
"""Bytes kept of each stream."""


def run(argv: list[str], cwd: str, timeout: float, over: Callable[[], bool]) -> dict[str, Any]:
    """``{code, out, err}``; a command killed by signal n has code -n. Raises Refused: exec, timeout."""
    try:
        command = subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused("exec", f"{argv[0]} cannot be executed: {error.strerror}") from error
    kept: list[bytearray] = [bytearray(), bytearray()]
    readers = [
        threading.Thread(target=_drain, args=(pipe, keep), daemon=True)
        for pipe, keep in zip((command.stdout, command.stderr), kept)
    ]
    for reader in readers:
        reader.start()
    code = _wait(command, time.monotonic() + timeout, over)
    for reader in readers:
        reader.join(1.0)  # a daemon the command left may hold the pipes for ever
    if code is None:
        raise Refused("timeout", f"{argv[0]} did not end within {timeout:g} s and was killed")
    out, err = (bytes(keep).decode("utf-8", "replace") for keep in kept)
    return {"code": code, "out": out, "err": err}


def _drain(pipe: IO[bytes], keep: bytearray) -> None:
    while True:
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            return
        keep += data[: OUTPUT - len(keep)]


def _wait(command: subprocess.Popen[bytes], deadline: float, over: Callable[[], bool]) -> int | None:
    look = 0.005
    while command.poll() is None:
        if time.monotonic() > deadline or over():
            os.killpg(command.pid, signal.SIGKILL)  # its own session: nobody else is in it
            command.wait()
            return None
        look = min(2 * look, 0.1)
        try:
            command.wait(look)
        except subprocess.TimeoutExpired:
            continue
    return command.returncode
