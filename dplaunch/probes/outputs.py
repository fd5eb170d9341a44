"""Reads what commands printed, without trust in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dplaunch.model.check import Output

Outputs = Mapping[str, Output]
"""A command's key → its output. A key is missing only if the node did not reply at all."""

NO_OUTPUT = Output(problem="no answer")
CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")
QUOTED = 80
"""Characters of an unreadable output that a finding quotes."""


def clean(text: str) -> str:
    """Remove colours and control characters: no broken tool may steer the terminal."""
    return CONTROL.sub("", text)


def find_output(outputs: Outputs, key: str) -> Output:
    """Return the output of a command; one with the problem ``no answer`` if it is missing."""
    return outputs.get(key, NO_OUTPUT)


def read_failure(output: Output) -> str:
    """Return why a command failed: its last line, else its problem or exit code."""
    lines = clean(output.err or output.out).strip().splitlines()
    return lines[-1].strip()[:160] if lines else output.problem or f"exit code {output.code}"


def read_last_json(text: str) -> dict[str, Any]:
    """Return the last line that is a JSON object, or an empty one.

    Lines of runtime.setup may have printed something before it.
    """
    for line in reversed(text.splitlines()):
        if line.strip().startswith("{"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def describe_unread(key: str, output: Output) -> str:
    """Return one line about an output that cannot be read."""
    lines = clean(output.out or output.err).strip().splitlines()
    printed = f"printed {lines[0][:QUOTED]!r}" if lines else "printed nothing"
    return f"{key}: {output.problem or printed}"
