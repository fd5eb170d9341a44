"""What a host can do, and the two kinds of host that real processes run on (local, ssh) share.

A ``Pipe`` is one running command's three streams; local and ssh each have one. ``Host`` makes a ``Stream``
of it, so that both behave the same.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import Struct, field

from dplaunch.errors import HostError
from dplaunch.model.cluster import Container
from dplaunch.transport.enter import enter
from dplaunch.transport.failures import NOT_FOUND, container_failure, missing_program
from dplaunch.transport.once import Once
from dplaunch.transport.stream import Pipe, Stream

SILENCE = 20.0
"""Seconds without a byte from a guard session (it beats every 5 s) until its link counts as dead."""
_LONGEST = 200
"""Characters of the last line of stderr that an error quotes."""


class Options(Struct, frozen=True):
    """How to connect. One value serves all nodes of a verb: ``shared`` is what connections share."""

    silence: float = SILENCE
    ssh_config: str | None = None
    """Read instead of ``~/.ssh/config`` and the system's (as ``ssh -F``)."""
    shared: Once = field(default_factory=Once)
    """Jump connections and loaded keys: made once, closed by ``shared.close()``."""


def command_line(argv: Sequence[str]) -> str:
    """The one place that quotes: words → the text a remote shell takes apart again."""
    return shlex.join(argv)


class Host(ABC):
    """One machine (or a container on it), reached one way. ``label`` names the node in messages."""

    def __init__(
        self, node: str, *, label: str = "", container: Container | None = None, silence: float = SILENCE
    ) -> None:
        self.node = node
        self.label = label or node
        self._container = container
        self._silence = silence

    @abstractmethod
    def _open(self, argv: Sequence[str]) -> Pipe:
        """Starts argv, which has the container's prefix; raises HostError."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection and what runs over it."""

    def start(self, argv: Sequence[str]) -> Pipe:
        """Starts a command on the machine itself; raises HostError."""
        return self._open(argv)

    def stream(self, argv: Sequence[str]) -> Stream:
        """Starts a command whose stdin and stdout stay open; one that ends badly raises from ``lines``."""

        def explain(code: int, err: str) -> HostError:
            return self._explain(argv, code, err)

        pipe = self._open(enter(self._container, argv) if self._container else argv)
        return Stream(self.node, self.label, pipe, silence=self._silence, explain=explain)

    def _explain(self, argv: Sequence[str], code: int, err: str) -> HostError:
        """Why the session of ``argv`` has ended, with the host or its container at fault where they are."""
        if self._container is not None:
            failure = container_failure(
                self.node, self.label, self._container, argv[0], code=code, printed=err
            )
            if failure is not None:
                return failure
            if self._container.image and code == NOT_FOUND:
                return missing_program(self.node, self.label, "python3", err)
        elif code == NOT_FOUND:
            return missing_program(self.node, self.label, argv[0], err)
        where = f"in container {self._container.name} on" if self._container else "on"
        how = f"ended with exit code {code}" if code > 0 else "was killed"
        printed = [line.strip() for line in err.splitlines() if line.strip()]
        why = f": {printed[-1][:_LONGEST]}" if printed else ""
        return HostError(
            self.node,
            f"the session {where} {self.label} {how}{why}",
            hint=f"`{argv[0]} --version` must work there, in a shell that is not a login shell",
            detail=tuple(printed[-20:]),
        )
