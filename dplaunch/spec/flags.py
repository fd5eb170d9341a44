"""Flags of an engine as keys of ``args``: how they are spelt, and those that dplaunch computes itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.values import ArgAny, refuse

_FLAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9_.-]+)?")

COMPUTED = {
    "api-key": "api_key",
    "data-parallel-rpc-port": "ports.rpc",
    "data-parallel-size": "dp of the role",
    "decode-context-parallel-size": "dcp of the role",
    "dcp": "dcp of the role",
    "dp": "dp of the role",
    "enable-expert-parallel": "ep of the role",
    "ep": "ep of the role",
    "host": "address of the node",
    "kv-transfer-config": "kv_transfer",
    "model": "model, at the top of the file",
    "no-enable-expert-parallel": "ep of the role",
    "pcp": "pcp of the role",
    "pipeline-parallel-size": "pp of the role",
    "port": "ports.http",
    "pp": "pp of the role",
    "prefill-context-parallel-size": "pcp of the role",
    "served-model-name": "served_model_name",
    "shutdown-timeout": "drain_timeout",
    "tensor-parallel-size": "tp of the role",
    "tp": "tp of the role",
}
"""Flag → the key of the cluster file that decides it."""

COMPUTED_FOR_EVERY_RANK = re.compile(r"data-parallel-.+|headless|nnodes|node-rank|master-addr|master-port")
"""Flags that follow from groups, nodes and masters."""

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
        raise refuse(f"'{key}' is no flag", "write the flag without its dashes: max-model-len")
    return flag(key)


def _engine_flag(key: str) -> str:
    name = _spelt(key)
    whole = name.partition(".")[0]  # kv-transfer-config.kv_port sets a part of it
    if whole in COMPUTED:
        raise refuse(f"'{key}' is computed by dplaunch", f"say it with {COMPUTED[whole]}")
    if COMPUTED_FOR_EVERY_RANK.fullmatch(whole):
        raise refuse(
            f"'{key}' is computed by dplaunch", "say it with nodes, groups, dp and master of the role"
        )
    return name


def _router_flag(key: str) -> str:
    name = _spelt(key)
    if name in _ROUTER:
        raise refuse(f"'{key}' is computed by dplaunch", f"say it with {_ROUTER[name]}")
    return name


def twins(data: object, path: KeyPath = ()) -> Iterator[Finding]:
    """Every flag of the file that one ``args`` has in two spellings: two wishes."""
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


Args = dict[Annotated[str, AfterValidator(_engine_flag)], ArgAny]
RouterArgs = dict[Annotated[str, AfterValidator(_router_flag)], ArgAny]
