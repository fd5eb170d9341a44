"""``signal``, ``socket`` and JSON as C has them.

Their Python halves (enums for every number, regular expressions to read JSON without C) take longer to load
than all else that a session does, and touching them makes each guard copy its own part of the memory that
they share.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # what signal is made of: typeshed leaves it out
import _socket as socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SIGNALS", "dumps", "loads", "signal", "socket"]

SIGNALS: dict[str, int] = {
    name: number
    for name, number in sorted(vars(signal).items())
    if name.startswith("SIG") and "_" not in name and isinstance(number, int)
}
"""``SIGTERM`` → 15, every signal of this machine; of two names of one the usual comes first."""


class _Reading:
    """What the scanner of ``json`` is set up with."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float


def _codec() -> tuple[Callable[[str | bytes], Any], Callable[[Any], str]]:
    """``loads`` and ``dumps`` of ``json``, from its C half. Nobody promises that one: it is tried first."""
    import _json  # noqa: PLC0415 - a Python may have none

    ascii_, plain = _json.encode_basestring_ascii, (None, ": ", ", ", False, False, True)
    write = _json.make_encoder(None, _refuse, ascii_, *plain)
    read = _json.make_scanner(_Reading)  # type: ignore[arg-type] # typeshed asks for the scanner itself

    def loads(data: str | bytes) -> Any:
        """The value of one JSON text. Raises ValueError."""
        text = (data if isinstance(data, str) else data.decode()).strip(" \t\r\n")
        try:
            value, end = read(text, 0)
            if end == len(text):
                return value
        except (StopIteration, SystemError):  # the latter where json's own error is not loaded
            pass
        import json  # noqa: PLC0415 - it says what is wrong

        return json.loads(text)

    def dumps(value: Any) -> str:
        """ASCII. Raises TypeError."""
        return "".join(write(value, 0))

    if loads(dumps({"a": [1, None]})) != {"a": [1, None]}:
        raise ValueError
    return loads, dumps


def _refuse(value: Any) -> Any:
    raise TypeError(f"{value!r} cannot be said in JSON")


try:
    loads, dumps = _codec()
except (ImportError, AttributeError, TypeError, ValueError):
    from json import dumps, loads
