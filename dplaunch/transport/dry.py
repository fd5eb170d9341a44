"""A host that only writes down what it is asked to do: for dry runs, and to script a guard in tests."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dplaunch.errors import HostError
from dplaunch.transport.host import Result

Message = Mapping[str, Any]
Answer = Callable[["DryStream", Message], Iterable[Message]]
"""Given the stream and a request (``{}`` at first: say hello), the messages to answer with."""


def _silent(_stream: DryStream, _request: Message) -> Iterable[Message]:
    return ()


@dataclass(slots=True)
class DryHost:
    """``answer`` plays the guard, ``run_answer`` every other command. ``sent`` is the record, in order:

    ``("run", argv, stdin)``, ``("put", path, data, mode)``, ``("stream", argv)``, ``("request", message)``.
    """

    node: str
    answer: Answer = _silent
    run_answer: Callable[[Sequence[str], bytes], Result] = lambda _argv, _stdin: Result(0, b"", "")
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    streams: list[DryStream] = field(default_factory=list)
    closed: bool = False

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Result:
        """As ``Host.run``; ``timeout`` means nothing here."""
        del timeout
        self.sent.append(("run", tuple(argv), stdin))
        return self.run_answer(argv, stdin)

    def put(self, path: str, data: bytes, mode: int) -> None:
        """As ``Host.put``."""
        self.sent.append(("put", path, data, mode))

    def stream(self, argv: Sequence[str]) -> DryStream:
        """As ``Host.stream``: a guard session played by ``answer``."""
        self.sent.append(("stream", tuple(argv)))
        stream = DryStream(self)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        """As ``Host.close``: its streams end."""
        self.closed = True
        for stream in self.streams:
            stream.close()


class DryStream:
    """A guard session without a guard: reads the opening and requests as one would, answers by the script."""

    def __init__(self, host: DryHost) -> None:
        self._host = host
        self._buffer = b""
        self._opened = False
        self._out: queue.SimpleQueue[Message | HostError | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self.stderr = ""

    def send(self, data: bytes) -> None:
        """Takes what the launcher sends; HostError after the end."""
        if self._ended.is_set():
            raise HostError(self._host.node, f"{self._host.node} ended the session", hint="look at its log")
        self._buffer += data
        if not self._opened:
            self._opened = self._skip_opening()
            if self._opened:
                self._answer({})
        while self._opened and b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._answer(json.loads(line))

    def _skip_opening(self) -> bool:
        """Boot text and bundle, both behind their sizes, and the header line; False until all is there."""
        boot, _, rest = self._buffer.partition(b"\n")
        sizes, _, rest = rest[int(boot or 0) :].partition(b"\n")
        _, newline, rest = rest[sum(map(int, sizes.split()[2:])) :].partition(b"\n")
        if newline:
            self._buffer = rest
        return bool(newline)

    def _answer(self, request: Message) -> None:
        if request:
            self._host.sent.append(("request", request))
        for message in self._host.answer(self, request):
            self.say(message)

    def say(self, message: Message) -> None:
        """One more message from the guard, at any time."""
        self._out.put(message)

    def fail(self, error: HostError) -> None:
        """The link breaks: ``lines`` raises ``error`` after what was said before."""
        self._ended.set()
        self._out.put(error)

    def close_stdin(self) -> None:
        """End of file: a guard then ends its session."""
        self.close()

    def lines(self) -> Iterator[bytes]:
        """What the guard said, until the session ends."""
        while (message := self._out.get()) is not None:
            if isinstance(message, HostError):
                raise message
            yield json.dumps(message).encode()

    def stderr_tail(self) -> str:
        """What a test put into ``stderr``."""
        return self.stderr

    def wait(self, timeout: float) -> int | None:
        """0 once the session has ended."""
        return 0 if self._ended.wait(timeout) else None

    def close(self) -> None:
        """The session ends well."""
        if not self._ended.is_set():
            self._ended.set()
            self._out.put(None)
