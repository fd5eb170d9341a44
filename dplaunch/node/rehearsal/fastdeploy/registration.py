"""How a server makes itself known to FastDeploy's router."""

from __future__ import annotations

import http.client
import json
import time
from http import HTTPStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log
    from .settings import Settings

EVERY = 5.0
"""Seconds between two registrations."""
AT_FIRST = 0.5
"""Seconds after which one that failed is repeated."""


def describe(settings: Settings) -> dict[str, object]:
    """What a server says of itself."""
    own = slice(settings.rank * settings.tp, (settings.rank + 1) * settings.tp)
    return {
        "role": settings.role,
        "host_ip": settings.address,
        "port": settings.port,
        "metrics_port": settings.metrics_port,
        "connector_port": settings.own(settings.pds),
        "rdma_ports": settings.rdmas[own],
        "engine_worker_queue_port": settings.own(settings.queues),
        "device_ids": settings.devices.split(",")[own],
        "transfer_protocol": settings.protocol.split(","),
        "tp_size": settings.tp,
        "is_paused": False,
    }


def register_for_ever(settings: Settings, log: Log) -> None:
    """Register again and again; does nothing without a router."""
    while settings.router:
        refusal = _register(settings)
        if refusal:
            log.file("api_server.log", "utils.py[line:150]", f"Failed to register: {refusal}", "ERROR")
        time.sleep(AT_FIRST if refusal else EVERY)


def _register(settings: Settings) -> str:
    client = http.client.HTTPConnection(settings.router, timeout=5)
    try:
        client.request(
            "POST", "/register", json.dumps(describe(settings)), {"Content-Type": "application/json"}
        )
        answer = client.getresponse()
        return "" if answer.status == HTTPStatus.OK else answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as fault:
        return str(fault)
    finally:
        client.close()
