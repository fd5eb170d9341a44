"""What an engine needs of a pool beside it when it starts: the file of its client, and a master that answers.

KV itself is not kept there: a rehearsal computes what it does not get from a prefill engine. Read in
vllm-ascend 0.23.0, ``mooncake_backend.py`` and ``memcache_backend.py``.
"""

from __future__ import annotations

import json
import socket

from .failure import FatalError
from .log import CORE
from .transfer import list_connectors

POOLS = frozenset({"AscendStoreConnector", "MooncakeConnectorStoreV1", "MooncakeStoreConnector"})
MOONCAKE, MEMCACHE = "MOONCAKE_CONFIG_PATH", "MMC_LOCAL_CONFIG_PATH"
META = "ock.mmc.meta_service_url"
LIMIT = 5.0
"""Seconds for the master to accept a connection."""


def connect(config: object, env: dict[str, str]) -> None:
    """Connect to every pool of a ``--kv-transfer-config`` once; raises FatalError as the engine does."""
    if not isinstance(config, dict) or not config.get("kv_connector"):
        return
    for one in list_connectors(config):
        if one.get("kv_connector") not in POOLS:
            continue
        extra = one.get("kv_connector_extra_config")
        backend = extra.get("backend", "mooncake") if isinstance(extra, dict) else "mooncake"
        if backend == "mooncake":
            _reach(env.get("MOONCAKE_MASTER") or _master(_read(MOONCAKE, env)), "Initialize mooncake failed.")
        elif backend == "memcache":
            _reach(_meta(_read(MEMCACHE, env)), "Store initialization failed.")


def _read(variable: str, env: dict[str, str]) -> str:
    path = env.get(variable)
    if not path:
        raise FatalError(f"ValueError: The environment variable '{variable}' is not set.", who=CORE)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise FatalError(f"{type(error).__name__}: {error}", who=CORE) from None


def _master(text: str) -> str:
    try:
        return str(json.loads(text)["master_server_address"])
    except (ValueError, KeyError, TypeError) as error:
        raise FatalError(f"{type(error).__name__}: {error}", who=CORE) from None


def _meta(text: str) -> str:
    pairs = (line.partition("=") for line in text.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return found.get(META, "").rpartition("//")[2]


def _reach(address: str, failure: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), LIMIT).close()
    except (OSError, ValueError, OverflowError):
        raise FatalError(f"RuntimeError: {failure}", who=CORE) from None
