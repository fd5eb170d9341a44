"""What a command said on a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """One node's answer to ``exec``. ``code`` is None when it never ran: ``problem`` says why."""

    node: str
    code: int | None = None
    out: str = ""
    err: str = ""
    problem: str = ""
