"""One run of the bundle on a node: JSON requests in, JSON replies and events out.

Quick verbs are answered in order by the loop; those that take time run in threads of their own.
The session ends with its stdin, with its stdout, or when the launcher is silent for too long;
what is guarded goes on.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import threading
import time

from . import linux
from .lock import Lock
from .store import Folder, Refused, refusal
from .verbs import FINISHING, QUICK, SLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1
SILENCE = 30.0
BEAT = 5.0
_PIECE = 4096
"""Bytes that fit whenever a pipe can be written at all."""


class Call:
    """One request being answered: what a verb sees of the session."""

    def __init__(self, session: Session, request: dict[str, Any]) -> None:
        self.session = session
        self.folder = session.folder
        self.request = request
        self.id = request.get("id")
        self.cancelled = threading.Event()

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the request; null counts as missing."""
        value = self.request.get(key)
        return default if value is None else value

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """Stream one event of this request."""
        self.session.send({"id": self.id, "event": event, **fields})

    def over(self) -> bool:
        """Nobody listens any more."""
        return self.cancelled.is_set() or self.session.ended.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True when the request is over."""
        return self.cancelled.wait(seconds) or self.session.ended.is_set()


class Session:
    """The loop. ``header`` may shorten ``silence`` and ``beat`` (seconds)."""

    def __init__(self, header: dict[str, Any], out: int) -> None:
        self.folder = Folder(node_folder(header))
        self.lock = Lock(self.folder)
        self.ended = threading.Event()
        self.calls: dict[Any, Call] = {}
        self.guards: list[int] = []
        """Guards this session forked."""
        self._finishing: list[threading.Thread] = []
        self.silence = float(header.get("silence") or SILENCE)
        self._beat = float(header.get("beat") or BEAT)
        self._out = out
        self._writing = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """One line out; a stdout that is gone ends the session."""
        line = json.dumps(message).encode() + b"\n"
        with self._writing:
            try:
                self._write(line)
            except OSError:
                self.ended.set()

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            while not select.select([], [self._out], [], 0 if self.ended.is_set() else 1.0)[1]:
                if self.ended.is_set():
                    raise BrokenPipeError(errno.EPIPE, "nobody reads any more")
            view = view[os.write(self._out, view[:_PIECE]) :]

    def run(self, source: int) -> None:
        """Until end of file, silence, or a broken stdout. What it runs ends with it, however it ends."""
        try:
            self._serve(source)
        finally:
            self._end()

    def _serve(self, source: int) -> None:
        self._greet()
        threading.Thread(target=self._beats, daemon=True).start()
        rest = b""
        heard = time.monotonic()
        while not self.ended.is_set():
            if not select.select([source], [], [], min(1.0, self.silence / 4))[0]:
                self._reap()
                if time.monotonic() - heard > self.silence:
                    break
                continue
            data = os.read(source, 1 << 20)
            if not data:
                break
            *lines, rest = _split(rest, data)
            for line in lines:
                self.take(line)
            heard = time.monotonic()  # after the work: our own slowness is nobody's silence

    def _end(self) -> None:
        self.ended.set()
        self.lock.release()
        for call in list(self.calls.values()):
            call.cancelled.set()
        for thread in self._finishing:
            thread.join()

    def _reap(self) -> None:
        """A guard that ends while we live is our child: a zombie otherwise."""
        for pid in list(self.guards):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.guards.remove(pid)

    def _greet(self) -> None:
        problem = self.folder.problem()
        self.send(
            {
                "event": "hello",
                "protocol": PROTOCOL,
                "hostname": linux.hostname(),
                "boot": linux.boot_id(),
                "clock": time.time(),
                "python": sys.version.split()[0],
                "root": self.folder.root,
                "writable": not problem,
                "problem": problem,
            }
        )

    def _beats(self) -> None:
        while not self.ended.wait(self._beat):
            self.send({"event": "beat"})

    def take(self, line: bytes) -> None:
        """One request line, whatever it is."""
        request = _request(line)
        if request is None:
            if line.strip():
                self._refuse(None, Refused("request", f"not a request: {line[:200]!r}"))
            return
        verb = request["verb"]
        if verb == "beat":
            return
        call = Call(self, request)
        if verb in QUICK:
            self._answer(call, QUICK[verb])
        elif verb in SLOW:
            self.calls[call.id] = call
            thread = threading.Thread(target=self._answer, args=(call, SLOW[verb]), daemon=True)
            thread.start()
            if verb in FINISHING:
                self._finishing.append(thread)
        else:
            text = f"this node's guard does not know the verb {verb!r} (protocol {PROTOCOL})"
            self._refuse(call.id, Refused("verb", text))

    def _answer(self, call: Call, verb: Any) -> None:
        try:
            reply = verb(call)
        except Refused as refused:
            self._refuse(call.id, refused)
        except OSError as error:
            self._refuse(call.id, refusal(error, error.filename or self.folder.root))
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            text = f"the guard failed at {call.request.get('verb')}: {error!r}"
            self._refuse(call.id, Refused("guard", text, "this is a fault of dplaunch: please report it"))
        else:
            self.send({"id": call.id, "ok": True, **(reply or {})})
        finally:
            self.calls.pop(call.id, None)

    def _refuse(self, number: Any, refused: Refused) -> None:
        self.send({"id": number, "ok": False, "error": refused.error})


def _request(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(value, dict) and isinstance(value.get("verb"), str)
    return value if whole and isinstance(value.get("id"), (int, type(None))) else None


def _split(rest: bytes, data: bytes) -> list[bytes]:
    """Whole lines and, last, what may go on."""
    if b"\n" not in data:
        return [rest + data]
    return (rest + data).split(b"\n")


def node_folder(header: dict[str, Any]) -> str:
    """``<state home>/dplaunch/<cluster>/<node>``, absolute."""
    home = header.get("state") or os.environ.get("XDG_STATE_HOME")
    home = home or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(os.path.abspath(home), "dplaunch", header["cluster"], header["node"])


def run_from(stdin: int, stdout: int) -> int:
    """Serve one session on two descriptors, its header the first line of stdin; 0."""
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows belongs to the session
        byte = os.read(stdin, 1)
        if not byte:
            return 2
        line += byte
    Session(json.loads(line), stdout).run(stdin)
    return 0
