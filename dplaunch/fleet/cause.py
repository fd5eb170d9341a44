"""The line of a log tail that says why, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dplaunch.frozen import dataclass
from dplaunch.model.plan import Signature

ERROR_LINE = re.compile(r"\bERROR\b|\b\w*(Error|Exception)\b: |\bFATAL\b|error:")

CONSEQUENCE = re.compile(
    r"See root cause above|Connection (closed|reset) by peer"
    r"|Traceback \(most recent|(Core|Proc) failed to start"
)
"""What an engine says because another process failed: never the first place to look."""


@dataclass(frozen=True, slots=True)
class Cause:
    """``line`` as logged; ``hint`` only where a signature knew it."""

    line: str = ""
    hint: str = ""


def find_cause(tail: Sequence[str], signatures: Iterable[Signature]) -> Cause:
    """The earliest line a signature knows; else the last error line that is no consequence; else the last."""
    known = [(re.compile(s.pattern), s) for s in signatures]
    for line in tail:
        for pattern, signature in known:
            if pattern.search(line):
                return Cause(line.strip(), f"{signature.meaning}; {signature.hint}".strip("; "))
    errors = [line for line in tail if ERROR_LINE.search(line)]
    spoken = [line for line in tail if line.strip()]
    causes = [line for line in errors if not CONSEQUENCE.search(line)]
    return Cause((causes or errors or spoken or [""])[-1].strip())
