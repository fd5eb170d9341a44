"""The identity of this machine."""

from __future__ import annotations

import os

from . import proc

_boot: list[str] = []


def hostname() -> str:
    """The name this machine gives itself."""
    return os.uname().nodename


def boot_id() -> str:
    """Changes with every boot, and with every start of a container: process numbers start over then.

    The kernel's id (empty where it has none) and the start time of the first process.
    """
    if not _boot:
        first = proc.read(1)
        _boot.append(f"{_kernel_boot()}/{first.start if first else 0}")
    return _boot[0]


def _kernel_boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
