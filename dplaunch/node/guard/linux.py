"""Who this machine is."""

from __future__ import annotations

import os

_boot: list[str] = []


def hostname() -> str:
    """The name this machine gives itself."""
    return os.uname().nodename


def boot_id() -> str:
    """Changes with every boot; empty where the kernel does not say."""
    if not _boot:
        try:
            with open("/proc/sys/kernel/random/boot_id") as file:
                _boot.append(file.read().strip())
        except OSError:
            _boot.append("")
    return _boot[0]
