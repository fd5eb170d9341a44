"""Exit code and stderr of a command → why the host or its container is at fault. Pure."""

from __future__ import annotations

import re

from dplaunch.errors import HostError

_NO_PROGRAM = re.compile(r"executable file .*not found|invoked a command that was not found", re.IGNORECASE)


NOT_FOUND = 127
"""What a shell answers for a program that is not there."""


def missing_program(node: str, where: str, program: str, err: str) -> HostError:
    """Exit 127: the shell did not find ``program``."""
    hint = "install Python 3.8 or newer there" if "python" in program else "install it there"
    return HostError(
        node,
        f"{where} has no {program} in a non-login shell's PATH",
        hint=f"{hint}; `ssh HOST {program} --version` must answer",
        detail=tuple(err.strip().splitlines()[-3:]),
    )


def container_failure(
    node: str, label: str, prefix: tuple[str, ...], code: int, err: str
) -> HostError | None:
    """What ``docker exec`` or ``podman exec`` says when there is no container to run in; None otherwise.

    ``prefix`` is (docker|podman, exec, -i, NAME); docker answers 1, podman 125 and 255.
    """
    if not prefix or code == 0:
        return None
    engine, name = prefix[0], prefix[-1]
    text = err.lower()
    found = [
        (says, hint)
        for marks, says, hint in (
            (
                ("no such container", "no container with name"),
                f"{label} has no container named {name}",
                f"start it there (`{engine} run -d --name {name} …`), or correct runtime.container",
            ),
            (
                ("is not running", "on running containers", "is paused"),
                f"container {name} on {label} does not run",
                f"`{engine} start {name}` on {label}",
            ),
            (
                ("cannot connect to the docker daemon", "permission denied while trying to connect"),
                f"{label} may not use {engine}",
                f"start {engine} there, or log in as a user who may use it; `{engine} ps` must work",
            ),
        )
        if any(mark in text for mark in marks)
    ]
    if found:
        says, hint = found[0]
        return HostError(node, says, hint=hint, detail=tuple(err.strip().splitlines()[-3:]))
    if code in (126, NOT_FOUND) and _NO_PROGRAM.search(err):
        return HostError(
            node,
            f"container {name} on {label} has no python3",
            hint=f"install Python 3.8 or newer in it; `{engine} exec {name} python3 --version` must answer",
            detail=tuple(err.strip().splitlines()[-3:]),
        )
    return missing_program(node, label, engine, err) if code == NOT_FOUND else None


STILL_RUNS = "what runs there goes on; `dplaunch status` asks again"


def lost_link(node: str, label: str) -> HostError:
    """The connection broke in the middle."""
    return HostError(node, f"the connection to {label} was lost", hint=STILL_RUNS)
