"""``args`` of a cluster file → words of a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dplaunch.model.cluster import ArgValue


def words(key: str, value: ArgValue, *, negatable: bool = False) -> tuple[str, ...]:
    """One flag: ``("seed", 1024)`` → ("--seed", "1024"); True is the bare flag, None nothing.

    False is ``--no-seed`` where the engine has that (``negatable``), else nothing. Maps become JSON, a list
    of scalars several words, a list of maps JSON.
    """
    if value is None or value is False:
        return (f"--no-{key}",) if negatable and value is False else ()
    flag = f"--{key}"
    if value is True:
        return (flag,)
    if isinstance(value, Mapping):
        return flag, to_json(value)
    if isinstance(value, tuple):
        return _several(flag, value)
    return _single(flag, text(value))


def _several(flag: str, values: tuple[ArgValue, ...]) -> tuple[str, ...]:
    if any(isinstance(v, (Mapping, tuple)) for v in values):
        return flag, to_json(values)
    return flag, *(text(v) for v in values)


def _single(flag: str, word: str) -> tuple[str, ...]:
    # argparse takes a word that begins with a dash for the next flag
    is_number = word[1:2].isdigit()
    return (f"{flag}={word}",) if word.startswith("-") and not is_number else (flag, word)


def text(value: ArgValue) -> str:
    """A scalar as the engine's command line wants it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def to_json(value: Any) -> str:
    """JSON on one line, unicode kept, key order kept."""
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """Mappings and tuples as dict and list, all the way down."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value
