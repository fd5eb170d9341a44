"""Redis in a rehearsal: ``redis-server [-] --port N --bind A …``, with what engines' schedulers ask of it.

Speaks RESP2. Strings, hashes and lists live in memory and expire when they are next asked for. With ``-`` its
configuration comes on stdin, of which ``requirepass`` counts.
"""

from __future__ import annotations

import os
import socketserver
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Union

    Reply = Union[None, int, bytes, "list[Reply]", Exception, bool]

VERSION = "7.0.15"


class Wrong(Exception):  # noqa: N818 - a reply, as Redis words it
    """An error reply."""


class Keys:
    """The data, and what each command does with it."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._values: dict[bytes, Any] = {}
        self._ends: dict[bytes, float] = {}
        self.lock = threading.Lock()
        self.commands: dict[str, Callable[..., Reply]] = {
            "PING": lambda *text: text[0] if text else True,
            "SELECT": lambda _: True,
            "TIME": lambda: [str(int(part)).encode() for part in divmod(time.time() * 1e6, 1e6)],
            "CLIENT": lambda *_: True,
            "INFO": lambda *_: f"# Server\r\nredis_version:{VERSION}\r\n".encode(),
            "SET": self.set,
            "GET": lambda key: self._get(key, bytes),
            "DEL": lambda *keys: sum(self._remove(key) for key in keys),
            "EXISTS": lambda *keys: sum(self._alive(key) for key in keys),
            "KEYS": lambda _: [key for key in list(self._values) if self._alive(key)],
            "EXPIRE": self.expire,
            "HSET": self.hset,
            "HGET": lambda key, field: (self._get(key, dict) or {}).get(field),
            "HGETALL": lambda key: [part for pair in (self._get(key, dict) or {}).items() for part in pair],
            "HDEL": self.hdel,
            "LPUSH": lambda key, *values: self._push(key, values, first=True),
            "RPUSH": lambda key, *values: self._push(key, values, first=False),
            "LLEN": lambda key: len(self._get(key, list) or ()),
            "LPOP": lambda key, *count: self._pop(key, count, 0),
            "RPOP": lambda key, *count: self._pop(key, count, -1),
        }

    def set(self, key: bytes, value: bytes, *options: bytes) -> Reply:
        """SET key value [EX seconds]."""
        self._values[key] = value
        self._ends.pop(key, None)
        if options[:1] in ((b"EX",), (b"ex",)):
            self.expire(key, options[1])
        return True

    def expire(self, key: bytes, seconds: bytes) -> Reply:
        """EXPIRE key seconds."""
        if not self._alive(key):
            return 0
        self._ends[key] = time.monotonic() + float(seconds)
        return 1

    def hset(self, key: bytes, *parts: bytes) -> Reply:
        """HSET key field value …"""
        fields = self._make(key, dict)
        new = len(set(parts[::2]) - set(fields))
        fields.update(zip(parts[::2], parts[1::2]))
        return new

    def hdel(self, key: bytes, *fields: bytes) -> Reply:
        """HDEL key field …"""
        there = self._get(key, dict) or {}
        return sum(there.pop(field, None) is not None for field in fields)

    def _push(self, key: bytes, values: tuple[bytes, ...], *, first: bool) -> Reply:
        there = self._make(key, list)
        for value in values:
            there.insert(0 if first else len(there), value)
        return len(there)

    def _pop(self, key: bytes, count: tuple[bytes, ...], place: int) -> Reply:
        there = self._get(key, list) or []
        found = [there.pop(place) for _ in range(min(int(count[0]) if count else 1, len(there)))]
        if not there:
            self._remove(key)
        if count:
            return found or None
        return found[0] if found else None

    def _alive(self, key: bytes) -> bool:
        if self._ends.get(key, float("inf")) <= time.monotonic():
            self._remove(key)
        return key in self._values

    def _remove(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def _get(self, key: bytes, kind: type) -> Any:
        value = self._values[key] if self._alive(key) else None
        if value is not None and not isinstance(value, kind):
            raise Wrong("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def _make(self, key: bytes, kind: type) -> Any:
        if self._get(key, kind) is None:
            self._values[key] = kind()
        return self._values[key]


class _Client(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answer command after command until the client leaves."""
        allowed = not self.server.keys.password
        while True:
            words = self._read()
            if not words:
                return
            name = words[0].decode().upper()
            if name == "AUTH":
                allowed = words[-1].decode() == self.server.keys.password
                reply: Reply = True if allowed else Wrong("WRONGPASS invalid username-password pair")
            elif not allowed:
                reply = Wrong("NOAUTH Authentication required.")
            else:
                reply = self._do(name, words[1:])
            self.wfile.write(encode(reply))

    def _do(self, name: str, words: list[bytes]) -> Reply:
        command = self.server.keys.commands.get(name)
        if command is None:
            return Wrong(f"ERR unknown command '{name}'")
        try:
            with self.server.keys.lock:
                return command(*words)
        except (TypeError, ValueError, IndexError):
            return Wrong(f"ERR wrong number of arguments for '{name.lower()}' command")
        except Wrong as error:
            return error

    def _read(self) -> list[bytes]:
        head = self.rfile.readline()
        if not head.startswith(b"*"):
            return head.split()
        words = []
        for _ in range(int(head[1:])):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2])
        return words


def encode(reply: Reply) -> bytes:
    """A reply in RESP2."""
    if reply is True:
        return b"+OK\r\n" if reply else b""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, Exception):
        return f"-{reply}\r\n".encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    return b"*%d\r\n%s" % (len(reply), b"".join(map(encode, reply)))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], keys: Keys) -> None:
        self.keys = keys
        super().__init__(address, _Client)


def main(argv: list[str]) -> int:
    """Serve until a signal ends it; its exit code."""
    lines = sys.stdin.read().splitlines() if argv[:1] == ["-"] else []
    password = next((line.split(" ", 1)[1] for line in lines if line.startswith("requirepass ")), "")
    words = argv[1:] if lines else argv
    flags = dict(zip(words[::2], words[1::2]))
    where = flags.get("--bind", "127.0.0.1"), int(flags.get("--port", "6379"))
    try:
        server = _Server(where, Keys(password))
    except OSError as error:
        sys.stdout.write(
            f"# Warning: Could not create server TCP listening socket {where[0]}:{where[1]}: {error}\n"
        )
        return 1
    now = time.strftime("%d %b %Y %H:%M:%S")
    sys.stdout.write(f"{os.getpid()}:M {now} * Ready to accept connections\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0
