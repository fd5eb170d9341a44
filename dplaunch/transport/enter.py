"""The command that runs another one in a node's container. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dplaunch.model.cluster import Container

OWNER = "dplaunch.owner"
"""The label of a container that dplaunch started; its value is ``Container.owner``."""

_IF_OURS = (
    "engine=$1 name=$2 owner=$3; shift 3; "
    'seen=$("$engine" container inspect --format '
    f'"{{{{.State.Running}}}} {{{{index .Config.Labels \\"{OWNER}\\"}}}}" "$name" 2>/dev/null); '
    'if [ "$seen" = "true $owner" ]; then exec "$engine" exec -i "$name" "$@"; fi; '
    'shift; exec python3 "$@"'
)
"""One line, so that every login shell passes it on."""


def enter(container: Container, argv: Sequence[str]) -> tuple[str, ...]:
    """The words that run ``argv`` inside.

    Where dplaunch starts the container itself it may not run yet, or no more: then the machine's ``python3``
    takes the place of the first word, and the guard session runs on the machine.
    """
    if container.image is None:
        return (container.engine, "exec", "-i", container.name, *argv)
    return ("sh", "-c", _IF_OURS, "sh", container.engine, container.name, container.owner, *argv)
