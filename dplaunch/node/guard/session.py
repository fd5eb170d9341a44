"""One run of the bundle on a node: JSON requests in, JSON replies and events out.

Quick verbs are answered in order by the loop; those that take time run in threads of their own.
The session ends with its stdin, with its stdout, or when the launcher is silent for too long;
guarded processes keep running.
"""

from __future__ import annotations

import _thread
import errno
import json
import os
import select
import sys
import time

from . import proc
from .call import Call, Shared
from .state import PROTOCOL
from .store import Folder, Refused, parse_object, refusal
from .verbs import FINISHING, QUICK, SLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any

    from .verbs import Verb

SILENCE = 30.0
BEAT = 5.0
_PIECE = 4096
"""Bytes that can be written without blocking once a pipe is writable."""


class Session:
    """The loop. ``header`` may shorten ``silence`` and ``beat`` (seconds)."""

    def __init__(self, header: dict[str, Any], out: int) -> None:
        self.shared = Shared(Folder(node_folder(header)), self.send)
        self.silence = float(header.get("silence") or SILENCE)
        self._beat = float(header.get("beat") or BEAT)
        self._ended = self.shared.ended
        self._finishing: list[threading.Thread] = []
        self._out = out
        self._writing = _thread.allocate_lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one line; a stdout that is closed ends the session."""
        line = json.dumps(message).encode() + b"\n"
        with self._writing:
            try:
                self._write(line)
            except OSError:
                self._ended.set()

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            while not select.select([], [self._out], [], 0 if self._ended.is_set() else 1.0)[1]:
                if self._ended.is_set():
                    raise BrokenPipeError(errno.EPIPE, "the launcher no longer reads")
            view = view[os.write(self._out, view[:_PIECE]) :]

    def run(self, source: int) -> None:
        """Serve until end of file, silence, or a broken stdout; then end what this session runs."""
        try:
            self._serve(source)
        finally:
            self._end()

    def _serve(self, source: int) -> None:
        self._greet()
        _thread.start_new_thread(self._send_beats, ())
        rest = b""
        heard = time.monotonic()
        while not self._ended.is_set():
            if not select.select([source], [], [], min(1.0, self.silence / 4))[0]:
                self._reap()
                if time.monotonic() - heard > self.silence:
                    break
                continue
            data = os.read(source, 1 << 20)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
            heard = time.monotonic()  # after the work: it may have taken longer than the silence allowed

    def _end(self) -> None:
        self._ended.set()
        self.shared.lock.release()
        for call in list(self.shared.calls.values()):
            call.cancelled.set()
        for thread in self._finishing:
            thread.join()

    def _reap(self) -> None:
        """A guard that ends during this session is its child, and would stay a zombie."""
        for pid in list(self.shared.guards):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.shared.guards.remove(pid)

    def _greet(self) -> None:
        folder = self.shared.folder
        problem = folder.problem()
        self.send(
            {
                "event": "hello",
                "protocol": PROTOCOL,
                "hostname": proc.hostname(),
                "boot": proc.boot_id(),
                "clock": time.time(),
                "python": sys.version.split()[0],
                "root": folder.root,
                "writable": not problem,
                "problem": problem,
                "container": os.environ.get("DPLAUNCH_CONTAINER", ""),
                "image": os.environ.get("DPLAUNCH_IMAGE", ""),
            }
        )

    def _send_beats(self) -> None:
        while not self._ended.wait(self._beat):
            self.send({"event": "beat"})

    def _take(self, line: bytes) -> None:
        """Answer one line, whatever it holds."""
        request = _request(line)
        if request is None:
            if line.strip():
                self._refuse(None, Refused("request", f"this line is not a request: {line[:200]!r}"))
            return
        verb = request["verb"]
        if verb == "beat":
            return
        call = Call(request, self.shared)
        if verb in QUICK:
            self._answer(call, QUICK[verb])
        elif verb in SLOW:
            self._answer_in_thread(call)
        else:
            text = f"the guard on this node does not know the verb {verb!r} (protocol {PROTOCOL})"
            self._refuse(call.id, Refused("verb", text))

    def _answer_in_thread(self, call: Call) -> None:
        import threading  # noqa: PLC0415 - see call.py

        verb = call.request["verb"]
        self.shared.calls[call.id] = call
        thread = threading.Thread(target=self._answer, args=(call, SLOW[verb]), daemon=True)
        thread.start()
        if verb in FINISHING:
            self._finishing.append(thread)

    def _answer(self, call: Call, verb: Verb) -> None:
        try:
            reply = verb(call)
        except Refused as refused:
            self._refuse(call.id, refused)
        except OSError as error:
            self._refuse(call.id, refusal(error, error.filename or call.folder.root))
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            text = f"the guard failed at {call.request.get('verb')}: {error!r}"
            self._refuse(call.id, Refused("guard", text, "this is a fault of dplaunch: please report it"))
        else:
            self.send({"id": call.id, "ok": True, **reply})
        finally:
            self.shared.calls.pop(call.id, None)

    def _refuse(self, number: Any, refused: Refused) -> None:
        self.send({"id": number, "ok": False, "error": refused.error})


def _request(line: bytes) -> dict[str, Any] | None:
    value = parse_object(line)
    if value is None or not isinstance(value.get("verb"), str):
        return None
    return value if isinstance(value.get("id"), (int, type(None))) else None


def node_folder(header: dict[str, Any]) -> str:
    """``<state home>/dplaunch/<cluster>/<node>``, absolute."""
    home = header.get("state") or os.environ.get("XDG_STATE_HOME")
    home = home or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(os.path.abspath(home), "dplaunch", header["cluster"], header["node"])


def run_from(header: bytes, stdin: int, stdout: int) -> int:
    """Serve one session on two descriptors; 0, or 2 where the launcher went away before its header."""
    if not header.endswith(b"\n"):
        return 2
    Session(json.loads(header), stdout).run(stdin)
    return 0
