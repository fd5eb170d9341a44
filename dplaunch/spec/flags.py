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


def twins(data: object, path: KeyPath = ()) -> Iterator[Finding]:
    """Find every flag that one ``args`` gives twice, in two spellings."""
    if path[-1:] == ("args",) and isinstance(data, dict):
        seen: dict[str, str] = {}
        for key in data:
            first = seen.setdefault(flag(key), key)
            if first != key:
                text = f"'{first}' and '{key}' are the same flag"
                yield Finding((*path, key), text, "keep one of the two", at_key=True)
    elif isinstance(data, dict | list) and path[:1] != ("kv_transfer",):
        for step, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from twins(item, (*path, step))


def computed(data: object, engine: EngineFacts | None, path: KeyPath = ()) -> Iterator[Finding]:
    """Find every flag in engine ``args`` that dplaunch computes, with the key to set instead."""
    if path[-1:] == ("args",) and isinstance(data, dict):
        for key in data:
            name = flag(str(key)).partition(".")[0]  # kv-transfer-config.kv_port sets a part of it
            flags = engine.computed if engine else {}
            if instead := next((key for flag_, key in flags.items() if re.fullmatch(flag_, name)), ""):
                text = f"'{key}' is computed by dplaunch"
                yield Finding((*path, key), text, f"set {instead} instead", at_key=True)
    elif isinstance(data, dict | list) and path[:1] not in {("kv_transfer",), ("router",)}:
        for step, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from computed(item, engine, (*path, step))


Args = dict[Annotated[str, AfterValidator(_spelt)], ArgAny]
RouterArgs = dict[Annotated[str, AfterValidator(_router_flag)], ArgAny]
