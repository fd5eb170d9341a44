"""The script that starts a FastDeploy on one node: environment, secrets, what is tried first, the command."""

from __future__ import annotations

from collections.abc import Sequence

from dplaunch.engines.adapter import Site, Template
from dplaunch.engines.fastdeploy import command, forms
from dplaunch.engines.settings import secrets as own_secrets
from dplaunch.engines.settings import user_env
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import Seat
from dplaunch.ranges import grouped


def groups(site: Site) -> list[tuple[Seat, ...]]:
    """The ranks that each group has on the node."""
    return [tuple(seats) for seats in grouped((seat.group, seat) for seat in site.seats).values()]


def secrets(site: Site, seats: Sequence[Seat]) -> dict[str, SecretRef]:
    """The API key, those of the file, and the password of Redis."""
    redis = site.spec.redis
    password = {forms.REDIS_PASSWORD: redis.password} if redis and redis.password else {}
    return own_secrets(site, seats[0]) | password


def script(
    release: str,
    site: Site,
    seats: Sequence[Seat],
    words: Sequence[str],
    lines: Sequence[Sequence[str]] = (),
) -> Template:
    """The script of a group's ranks on the node: ``words`` is what it starts, ``lines`` its flags."""
    redis = site.spec.redis
    written = user_env(site, seats[0])
    computed = {n: v for n, v in command.environment(site.spec, seats).items() if n not in written}
    context: dict[str, object] = {
        "title": f"{site.spec.name}: {seats[0].group_name} on {site.node.name} ({site.node.address})",
        "release": release,
        "ranks": [seat.name for seat in seats],
        "setup": site.spec.runtime.setup,
        "folder": command.folder(site, seats),
        "logs": command.FOLDER_OF_LOGS,
        "exports": [
            ("What layout and devices need", list(computed.items())),
            ("From the cluster file", [(n, v) for n, v in written.items() if isinstance(v, str)]),
        ],
        "secrets": sorted(secrets(site, seats)),
        "rdma": forms.uses_rdma(site.spec) and "KVCACHE_RDMA_NICS" not in written,
        "sysfs": "/sys",
        "redis": redis,
        "redis_password": forms.REDIS_PASSWORD if redis and redis.password and lines else "",
        "words": tuple(words),
        "lines": tuple(lines),
    }
    return Template(command.script_path(site, seats), "fastdeploy/run_fastdeploy.sh.j2", context)
