"""The JSON objects of the protocol and of the state files, as the type checker sees them.

Nothing imports this at run time: a session has no use for it.
"""

from __future__ import annotations

from typing import Any, TypedDict


class _Named(TypedDict):
    name: str


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
    meta: dict[str, Any]
    limits: dict[str, float]


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
    """state.json. ``guard`` and ``main`` are ``[pid, start]``, ``tree`` is ``[[pid, start, session], …]``."""

    host: str
    boot: str
    guard: list[int]
    main: list[int]
    tree: list[list[int]]
    phase: str
    signal: str
    started_at: float
    restart_count: int
    last_exit: LastExit | None
    fingerprint: str
    ports: list[int] | None
    address: str | None
    stop: list[list[Any]] | None
    restarts: bool | None
    meta: dict[str, Any] | None
    notes: list[str]


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
    healthy: bool | None
    restarts: int
    fingerprint: str
    log: str
    left: list[int]
    ports: list[int]
    meta: dict[str, Any]
    notes: list[str]
    host: str
    problem: str


class _Verdict(_Named):
    how: str
    seconds: float
    left: list[Left]
    ports: list[dict[str, Any]]


class Verdict(_Verdict, total=False):
    """How a stop went. ``problem``: why the process was left alone."""

    problem: str
