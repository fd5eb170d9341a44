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

    from .session import Call

OUTPUT = 1 << 20
"""Bytes kept of each stream."""


def answer(call: Call) -> dict[str, Any]:
    """The verb: ``argv`` in the node folder, ``timeout`` seconds (60)."""
    argv, home = call.get("argv"), call.folder.root
    if not argv:
        raise Refused("request", "exec needs argv, a list of words")
    return run(argv, home if os.path.isdir(home) else "/", float(call.get("timeout", 60.0)), call.over)


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
    kept = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_drain, args=(command.stdout, kept[0]), daemon=True),
        threading.Thread(target=_drain, args=(command.stderr, kept[1]), daemon=True),
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
