"""Flags of an engine as keys of ``args``: how they are spelt, and those that dplaunch computes itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from dplaunch.engines import EngineFacts
from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.values import ArgAny, refuse

_FLAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9_.-]+)?")

_ROUTER = {"host": "node of the router", "port": "port of the router"}


def flag(key: str) -> str:
    """``max_model_len`` → ``max-model-len``; below the first dot underscores are names of fields and stay."""
    head, dot, rest = key.partition(".")
    return head.replace("_", "-") + dot + rest


def _spelt(key: str) -> str:
    if key.startswith("-"):
        raise refuse(
            f"'{key}' is written with dashes", f"write {key.lstrip('-') or 'the name'}, without them"
        )
    if not _FLAG.fullmatch(flag(key)):
        raise refuse(f"'{key}' is not a flag name", "write the flag without its dashes: max-model-len")
    return flag(key)


def _router_flag(key: str) -> str:
    name = _spelt(key)
    if name in _ROUTER:
        raise refuse(f"'{key}' is computed by dplaunch", f"set {_ROUTER[name]} instead")
    return name


def twins(data: object) -> Iterator[Finding]:
    """Find every flag that one ``args`` gives twice, in two spellings."""
    for path, args in _every_args(data):
        seen: dict[str, str] = {}
        for key in args:
            first = seen.setdefault(flag(key), key)
            if first != key:
                text = f"'{first}' and '{key}' are the same flag"
                yield Finding((*path, key), text, "keep one of the two", at_key=True)


def computed(data: object, engine: EngineFacts | None) -> Iterator[Finding]:
    """Find every flag in engine ``args`` that dplaunch computes, with the key to set instead."""
    flags = engine.computed if engine else {}
    for path, args in _every_args(data):
        for key in args if path[0] != "router" else ():
            name = flag(str(key)).partition(".")[0]  # kv-transfer-config.kv_port sets a part of it
            if instead := next((key for flag_, key in flags.items() if re.fullmatch(flag_, name)), ""):
                text = f"'{key}' is computed by dplaunch"
                yield Finding((*path, key), text, f"set {instead} instead", at_key=True)


def _every_args(data: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """Every ``args`` of a file and where it stands; those in ``kv_transfer`` are not flags."""
    if path[-1:] == ("args",) and isinstance(data, dict):
        yield path, data
    elif isinstance(data, dict | list) and path[:1] != ("kv_transfer",):
        for step, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _every_args(item, (*path, step))


Args = dict[Annotated[str, AfterValidator(_spelt)], ArgAny]
RouterArgs = dict[Annotated[str, AfterValidator(_router_flag)], ArgAny]
