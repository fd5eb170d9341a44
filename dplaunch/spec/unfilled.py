"""Values of a cluster file that still hold what a document wrote in their place."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.placeholders import placeholder
from dplaunch.spec.finding import Finding, KeyPath, dotted

_TEMPLATE = "chat-template"
"""A flag whose value may be a template itself."""


def unfilled(data: object, path: KeyPath = ()) -> Iterator[Finding]:
    """Find every placeholder, wherever a text may stand."""
    if isinstance(data, str):
        found = placeholder(data, tokens=_below_a_flag(path))
        if found and not (path[-1:] == (_TEMPLATE,) and "{%" in data):
            yield Finding(
                path,
                f"{dotted(path)} still holds the placeholder '{found}'",
                "replace it with the value of your own machines, or remove the key",
            )
    elif isinstance(data, dict | list):
        for step, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from unfilled(item, (*path, step))


def _below_a_flag(path: KeyPath) -> bool:
    """Whether a text is a part of a flag's value."""
    return "args" in path[:-2]
