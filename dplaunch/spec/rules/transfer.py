"""Rules about the blocks of KV transfer, whose own keys belong to the connectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.model.cluster import ArgValue
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.rules.rule import Case, Rule

_OWN = "kv_connector_extra_config"
_LIST = "connectors"


def blocks_shaped(case: Case) -> Iterator[Finding]:
    """A connector's own configuration is a map, and connectors that work as one are a list of maps."""
    transfer = case.spec.kv_transfer
    if transfer is not None:
        for name, block in {"extra": transfer.extra, **transfer.by_role}.items():
            yield from _block(("kv_transfer", name), block)


def _block(path: KeyPath, block: Mapping[str, ArgValue]) -> Iterator[Finding]:
    own, listed = block.get(_OWN, {}), block.get(_LIST, ())
    if isinstance(own, Mapping):
        yield from _block((*path, _OWN), own) if own else ()
    else:
        yield _finding((*path, _OWN), "a map", f"{_OWN}: {{KEY: VALUE}}")
    if not isinstance(listed, tuple):
        yield _finding((*path, _LIST), "a list of connectors", f"{_LIST}: [{{kv_connector: NAME}}, …]")
        return
    for index, entry in enumerate(listed):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("kv_connector"), str):
            yield _finding((*path, _LIST, index), "a map with kv_connector", "{kv_connector: NAME, …}")
        else:
            yield from _block((*path, _LIST, index), entry)


def _finding(path: KeyPath, kind: str, hint: str) -> Finding:
    return Finding(path, f"{dotted(path)} takes {kind}", hint)


RULES = (Rule(("kv_transfer.**",), blocks_shaped),)
