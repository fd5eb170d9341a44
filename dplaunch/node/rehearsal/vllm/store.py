"""What an engine needs of a pool beside it when it starts: the file of its client, and a master that answers.

Read in vllm-ascend 0.23.0, ``mooncake_backend.py`` and ``memcache_backend.py``.
"""

from __future__ import annotations

import ipaddress
import json

from ..pool import Client
from .failure import FatalError
from .log import CORE
from .transfer import list_connectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .machine import Machine

POOLS = frozenset({"AscendStoreConnector", "MooncakeConnectorStoreV1", "MooncakeStoreConnector"})
MOONCAKE, MEMCACHE = "mooncake", "memcache"
META = "ock.mmc.meta_service_url"


class Access:
    """One pool that the engine uses: ``config`` is its connector's, ``client`` its connection."""

    def __init__(self, config: dict[str, object], backend: str, client: Client) -> None:
        self.config = config
        self.backend = backend
        self.client = client


def connect(config: object, machine: Machine, log: Log) -> Access | None:
    """Connect to every pool of a ``--kv-transfer-config``; returns the first.

    Raises FatalError as the engine does. A pool elsewhere is left alone by an engine on this machine.
    """
    if not isinstance(config, dict) or not config.get("kv_connector"):
        return None
    pools = [one for one in list_connectors(config) if one.get("kv_connector") in POOLS]
    found = [_access(one, machine, log) for one in pools]
    return next((access for access in found if access), None)


def _access(config: dict[str, object], machine: Machine, log: Log) -> Access | None:
    extra = config.get("kv_connector_extra_config")
    backend = str(extra.get("backend", MOONCAKE)) if isinstance(extra, dict) else MOONCAKE
    if backend == MOONCAKE:
        master = machine.env.get("MOONCAKE_MASTER") or _master(_read("MOONCAKE_CONFIG_PATH", machine.env))
        failure = "Initialize mooncake failed."
    elif backend == MEMCACHE:
        master = _meta(_read("MMC_LOCAL_CONFIG_PATH", machine.env))
        failure = "Store initialization failed."
    else:
        return None
    host, _, port = master.rpartition(":")
    host = host.strip("[]")
    if _is_loopback(machine.host) and not _is_loopback(host):
        log.warning(
            CORE, "store.py:1", f"the pool at {master} is no part of this rehearsal, and stays unused"
        )
        return None
    return Access(config, backend, _reach(host, port, failure))


def _reach(host: str, port: str, failure: str) -> Client:
    try:
        client = Client(host, int(port))
        client.connect()
    except (OSError, ValueError, OverflowError):
        raise FatalError(f"RuntimeError: {failure}", who=CORE) from None
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
