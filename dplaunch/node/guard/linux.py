"""Who this machine is."""

from __future__ import annotations

import os


def hostname() -> str:
    """The name this machine gives itself."""
    return os.uname().nodename


def boot_id() -> str:
    """Changes with every boot; empty where the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
