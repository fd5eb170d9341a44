"""The JSON objects of the protocol and of the state files, as the type checker sees them.

Nothing imports this at run time: a session has no use for it.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict


class _Named(TypedDict):
    name: str


class Endpoint(_Named):
    """An HTTP address of a process. An empty path, or an empty ``model``, is not asked for."""

    url: str
    health: str
    models: str
    model: str


class LogFile(_Named):
    """A log that the process writes itself. ``path`` is relative to the node folder and may be a glob."""

    path: str


class Ready(TypedDict, total=False):
    """When a process is ready. ``kind``: http, line (``pattern`` is a regular expression) or exit."""

    kind: str
    pattern: str


class Spec(_Named, total=False):
    """A StartSpec: one process to start. ``stop`` is ``[[signal, seconds], …]``."""

    argv: list[str]
    env: dict[str, str]
    secrets: dict[str, str]
    cwd: str
    ports: list[int]
    address: str
    stop: list[list[Any]]
    restarts: bool
    fingerprint: str
    version: str
    endpoints: list[Endpoint]
    ready: Ready
    logs: list[LogFile]
    meta: dict[str, Any]
    limits: dict[str, float]
    takes_over: float | None


class Claim(TypedDict):
    """What a process of another cluster holds: devices of the machine, and ports of one of its addresses."""

    cluster: str
    process: str
    address: str
    ports: list[int]
    devices: list[int]


class Left(TypedDict):
    """A process that outlived what it belonged to."""

    pid: int
    command: str


class Ending(TypedDict):
    """How a stop sequence went: the signal that ended it or another word, its seconds, what is left."""

    how: str
    seconds: float
    left: list[Left]


class LastExit(TypedDict):
    """How the main process ended. Both ``code`` and ``signal`` are empty where the guard could not wait."""

    code: int | None
    signal: str
    at: float


class Exit(LastExit):
    """exit.json. ``asked``: a stop was asked for."""

    asked: bool
    how: str
    left: list[Left]


class State(_Named):
    """state.json. ``guard`` and ``main`` are ``[pid, start]``, ``tree`` is ``[[pid, start, session], …]``.

    ``shared``: files in /dev/shm that the process made, ``[[name, inode], …]``.
    """

    protocol: int
    version: str
    host: str
    boot: str
    guard: list[int]
    main: list[int]
    tree: list[list[int]]
    shared: list[list[Any]]
    phase: str
    signal: str
    started_at: float
    restart_count: int
    last_exit: LastExit | None
    fingerprint: str
    ports: list[int]
    address: str
    stop: list[list[Any]]
    restarts: bool
    endpoints: list[Endpoint]
    ready: Ready
    logs: list[LogFile]
    meta: dict[str, Any]
    notes: list[str]


class ObservedEndpoint(Endpoint):
    """An endpoint and its health; None where it was not asked."""

    healthy: bool | None


class Process(_Named):
    """A process as ``observe`` returns it."""

    state: str
    pid: int
    guard_pid: int
    started_at: float
    ended_at: float
    exit_code: int | None
    signal: str
    how: str
    endpoints: list[ObservedEndpoint]
    ready: Ready
    logs: list[LogFile]
    restarts: int
    fingerprint: str
    log: str
    left: list[int]
    ports: list[int]
    meta: dict[str, Any]
    notes: list[str]
    host: str
    protocol: int
    version: str
    problem: str
    hint: str


class Verdict(_Named):
    """How a stop went. ``problem`` is why the process was left alone; ``kind`` and ``hint`` go with it."""

    how: str
    seconds: float
    left: list[Left]
    ports: list[dict[str, Any]]
    kind: str
    problem: str
    hint: str


class Stream(TypedDict, total=False):
    """One log to follow; ``file`` is empty for stdout and stderr."""

    process: str
    file: str
    offset: int | None


class Source(Protocol):
    """A log as a cursor reads it."""

    def run(self) -> int:
        """A number that changes when another file takes its place; 0 while there is none."""

    def size(self) -> int:
        """The offset after the last byte."""

    def read(self, offset: int, count: int = ...) -> tuple[int, bytes]:
        """Up to ``count`` bytes from ``offset``, or from the next offset that still exists."""

    def before(self, run: int) -> Source | None:
        """The file of an earlier run, if it still exists."""

    def tail(self, lines: int) -> int:
        """The offset where the last ``lines`` lines begin."""

    def since(self, epoch: float) -> int:
        """An offset before the first byte written after ``epoch``."""
