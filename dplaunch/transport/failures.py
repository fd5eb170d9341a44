"""Exit code and stderr of a command → why the host or its container is at fault. Pure."""

from __future__ import annotations

from dplaunch.errors import HostError
from dplaunch.model.cluster import Container

NOT_FOUND = 127
"""Exit code of a shell that does not find a program."""
CANNOT_RUN = (126, NOT_FOUND)
"""Exit codes of ``docker exec`` and ``podman exec`` when the container cannot run a program."""

# What docker and podman print (lower case) → what that means, what to do. The first that fits counts.
_PRINTED = (
    (
        ("no such container", "no container with name"),
        "{label} has no container named {name}",
        "start it there (`{engine} run -d --name {name} …`), or correct runtime.container",
    ),
    (("is paused",), "container {name} on {label} is paused", "`{engine} unpause {name}` on {label}"),
    (
        ("is restarting",),
        "container {name} on {label} is restarting",
        "`{engine} logs {name}` on {label} shows why it ends; run the command again when it stays up",
    ),
    (
        ("on running containers",),  # podman prints the same for a paused one
        "container {name} on {label} does not run",
        "`{engine} start {name}` on {label}, or `{engine} unpause {name}` if it is paused",
    ),
    (("is not running",), "container {name} on {label} does not run", "`{engine} start {name}` on {label}"),
    (
        (
            "cannot connect to the docker daemon",
            "failed to connect to the docker api",
            "permission denied while trying to connect",
            "cannot connect to podman",
        ),
        "the user of {label} may not use {engine}",
        "start {engine} there, or log in as a user who may use it; `{engine} ps` must work",
    ),
)


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
    node: str, label: str, container: Container, program: str, *, code: int, printed: str
) -> HostError | None:
    """What it means that ``docker exec`` or ``podman exec`` failed; None when the program itself did.

    docker's own exit code is 1, podman's 125 or 255; ``printed`` is its stderr. Where the container cannot
    run ``program`` both name OCI, older dockers on stdout: an empty stderr counts as that.
    """
    if code == 0:
        return None
    engine, name = container.engine, container.name
    text, names = printed.lower(), {"label": label, "engine": engine, "name": name}
    detail = tuple(printed.strip().splitlines()[-3:])
    for marks, sentence, hint in _PRINTED:
        if any(mark in text for mark in marks):
            return HostError(node, sentence.format(**names), hint=hint.format(**names), detail=detail)
    if code in CANNOT_RUN and ("OCI" in printed or not detail):
        return _cannot_run(node, f"container {name} on {label}", program, _try(container, program), detail)
    if code == NOT_FOUND and engine in printed:
        return missing_program(node, label, engine, printed)
    return None


def _try(container: Container, program: str) -> str:
    """What a user may run to see it: a container that dplaunch starts is removed where it cannot be used."""
    if container.image is None:
        return f"{container.engine} exec {container.name} {program} --version"
    return f"{container.engine} run --rm --entrypoint {program} {container.image.reference} --version"


def _cannot_run(node: str, where: str, program: str, command: str, detail: tuple[str, ...]) -> HostError:
    python = "python" in program
    hint = "install Python 3.8 or newer in it, or correct runtime.python" if python else "install it there"
    return HostError(
        node,
        f"{where} cannot run {program}",
        hint=f"{hint}; `{command}` must answer",
        detail=detail,
    )


STILL_RUNS = "processes there keep running; check with `dplaunch status`"


def lost_link(node: str, label: str) -> HostError:
    """The connection broke in the middle."""
    return HostError(node, f"the connection to {label} was lost", hint=STILL_RUNS)
