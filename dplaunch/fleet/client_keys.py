"""Clients' keys on the router's node: digests by name, which the router reads again when they change."""

from __future__ import annotations

import json
from hashlib import sha256

from dplaunch.fleet.job import Job
from dplaunch.model.plan import File
from dplaunch.plan.router import KEYS


def write_client_keys(job: Job) -> None:
    """Write the digests of the plan's client keys: new ones count without a restart. Raises DplaunchError."""
    router = job.plan.router_process
    if router is None or not job.plan.api_keys:
        return
    keys = [
        {"name": name, "sha256": sha256(job.secrets[ref].encode()).hexdigest()}
        for name, ref in job.plan.api_keys.items()
    ]
    text = json.dumps({"format": 1, "keys": keys}, indent=1) + "\n"
    for error in job.driver.write({router.node: File(KEYS, text, 0o600)}).values():
        raise error
