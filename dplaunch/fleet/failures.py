"""Failures of processes as the error of a verb."""

from __future__ import annotations

from collections.abc import Sequence

from dplaunch.errors import DplaunchError
from dplaunch.model.event import Failed


def as_error(failures: Sequence[Failed]) -> DplaunchError:
    """The first failure as an error; events have reported them all."""
    first = failures[0]
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    detail = tuple(filter(None, (first.cause, f"log: {first.node}:{first.log}" if first.log else "")))
    hint = first.hint or f"dplaunch logs {first.process} -n 50"
    return DplaunchError(first.text + others, hint=hint, detail=detail, reported=True)
