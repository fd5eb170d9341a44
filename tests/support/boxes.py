"""Containers in the lab: real podman on its hosts. No image is pulled: ours holds empty folders.

A container sees the machine's programs read-only, through the mounts that ``MOUNTS`` names.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile

from lab import HOME, LabHost
from waiting import until

CGROUP = f"dplaunch-lab-{os.getpid()}"
IMAGE = "localhost/dplaunch-lab"
MOUNTS = tuple(dict.fromkeys(("/usr", "/etc", sys.prefix, sys.base_prefix)))
LIMITS = (
    f"--cgroup-parent=/{CGROUP}",
    "--pids-limit=0",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=4096:4096",
)
"""No higher than a machine without CAP_SYS_RESOURCE allows; no limit needs a cgroup controller."""
PODMAN = (
    '#!/bin/sh\nexec /usr/bin/podman --runtime runc --cgroup-manager cgroupfs --events-backend file "$@"\n'
)
PREPARE = f"""
mount -t tmpfs tmpfs /var && mkdir /var/tmp /var/lib /var/cache
mount -t cgroup2 cgroup2 /sys/fs/cgroup
podman import -q {HOME}/image.tar {IMAGE}
"""


def pack_image() -> bytes:
    """A root file system of empty folders, as a tar."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", HOME[1:]):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name in ("bin", "lib", "lib64", "sbin"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
    return packed.getvalue()


def shell(host: LabHost, command: str, code: int = 0) -> str:
    """What a command prints at the host's console; it must end with ``code``."""
    done = host.run(["sh", "-euc", command], timeout=60)
    assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def give_podman(host: LabHost) -> None:
    """Podman on a host, with our image."""
    host.stub("podman", PODMAN)
    host.path("~/image.tar").write_bytes(pack_image())
    shell(host, PREPARE)


def leave_no_cgroup(host: LabHost) -> None:
    """Wait until nothing of the containers is left among the machine's cgroups."""
    folder = f"/sys/fs/cgroup/{CGROUP}"
    gone = ["sh", "-c", f"[ ! -d {folder} ] || find {folder} -depth -type d -exec rmdir {{}} +"]
    until(lambda: host.run(gone).returncode == 0)
