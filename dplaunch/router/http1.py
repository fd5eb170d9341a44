"""HTTP/1.1 as engines speak it: requests to bytes, answers from bytes. Pure; the sockets are in ``link``.

aiohttp's own client costs more than half of a router's time on short pieces of a stream, so the way to the
engines is written out here. It knows what a uvicorn server sends, and refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST_HEAD = 64 * 1024
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""Control characters, and bytes that are no UTF-8: no header that a client may be given."""


class BadAnswerError(Exception):
    """What came is not HTTP/1.1 as we know it."""


@dataclass(frozen=True)
class Head:
    """Status and headers; names in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int | None:
        """Content-Length, where there is one that counts."""
        text = self.headers.get("content-length", "")
        if "chunked" in self.headers.get("transfer-encoding", "").lower() or not text:
            return None
        if not text.isdecimal():
            raise BadAnswerError(f"content-length {text!r}")
        return int(text)

    @property
    def kind(self) -> str:
        """Content-Type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def stays_open(self) -> bool:
        """The engine keeps the connection after this answer."""
        return self.headers.get("connection", "").lower() != "close"


def request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Sequence[bytes]:
    """A request's head and body, which is not copied; ``headers`` must name the host."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "\r\n"]).encode("utf-8", "surrogateescape")
    return (head, body) if body else (head,)


def head(raw: bytes) -> Head:
    """The head of an answer, without the empty line that ends it."""
    first, *lines = raw.decode("utf-8", "surrogateescape").split("\r\n")
    unfit = next((line for line in (first, *lines) if _UNFIT.search(line)), None)
    if unfit is not None:
        raise BadAnswerError(f"control characters in its head: {unfit[:40]!r}")
    version, _, rest = first.partition(" ")
    if version != "HTTP/1.1" or not rest[:3].isdecimal():
        raise BadAnswerError(f"it begins with {first[:40]!r}")
    if rest.startswith("1"):
        raise BadAnswerError(f"an interim answer ({rest})")
    pairs = (line.partition(":") for line in lines)
    return Head(int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs})


class Sized:
    """A body of known length; of unknown length (None), one that lasts until the connection closes."""

    def __init__(self, left: int | None) -> None:
        self._left = left
        self.done = left == 0

    def feed(self, data: bytes) -> bytes:
        """What of ``data`` belongs to the body."""
        if self._left is None:
            return data
        if len(data) > self._left:
            raise BadAnswerError("more came than was announced")
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def closed(self) -> bool:
        """The connection closed: was that the end?"""
        self.done = self.done or self._left is None
        return self.done


class Chunked:
    """A body in chunks; their sizes are taken off, what is in them stays as it is."""

    def __init__(self) -> None:
        self.done = False
        self._held = b""
        """The beginning of a size line or of what ends a chunk."""
        self._left = 0
        self._last = False
        self._ends = False
        """The line's end that follows a chunk's data must come next."""

    def feed(self, data: bytes) -> bytes:
        """What is in the chunks of ``data``."""
        if not (self._held or self._left or self._ends):
            piece = _one_chunk(data)
            if piece:
                return piece
        data = self._held + data if self._held else data
        found: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            step = self._step(data, at, found)
            if not step:
                break
            at += step
        if self.done and at < len(data):
            raise BadAnswerError("more came than was announced")
        self._held = data[at:]
        return found[0] if len(found) == 1 else b"".join(found)

    def _step(self, data: bytes, at: int, found: list[bytes]) -> int:
        """How far one piece of framing or content goes; 0 when its rest has yet to come."""
        if self._left:
            piece = data[at : at + self._left]
            found.append(piece)
            self._left -= len(piece)
            return len(piece)
        if self._ends:
            return self._end_of_chunk(data, at)
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > 64:  # noqa: PLR2004 - no size line is this long
                raise BadAnswerError("a chunk without a size")
            return 0
        self._left = _size(data[at:end])
        self._last = self._left == 0
        self._ends = True
        return end + 2 - at

    def _end_of_chunk(self, data: bytes, at: int) -> int:
        if len(data) - at < 2:  # noqa: PLR2004 - length of "\r\n"
            return 0
        if not data.startswith(b"\r\n", at):
            raise BadAnswerError("a chunk that does not end where it should")
        self._ends = False
        self.done = self._last
        return 2

    def closed(self) -> bool:
        """The connection closed: was that the end?"""
        return self.done


def _one_chunk(data: bytes) -> bytes:
    """What is in ``data`` when it is exactly one chunk, as a token of a stream is; else nothing."""
    line, found, rest = data.partition(b"\r\n")
    if found and rest.endswith(b"\r\n") and len(rest) == _size(line) + 2:
        return rest[:-2]
    return b""


def _size(line: bytes) -> int:
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError:
        size = -1
    if size < 0:
        raise BadAnswerError(f"a chunk of size {line[:20]!r}")
    return size


def framing(method: str, answer: Head) -> Sized | Chunked:
    """How the body that follows ``answer`` is framed."""
    if method == "HEAD" or answer.status in (204, 304):
        return Sized(0)
    coding = answer.headers.get("transfer-encoding", "").lower()
    if coding == "chunked":
        return Chunked()
    if coding:
        raise BadAnswerError(f"transfer-encoding {coding!r}")
    return Sized(answer.length)
