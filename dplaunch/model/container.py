"""Containers that dplaunch starts: what a machine holds for one, and what a change does about them."""

from __future__ import annotations

from msgspec import Struct


class Box(Struct, frozen=True, kw_only=True):
    """What a machine holds for its container."""

    node: str
    state: str = ""
    """``running``, ``exited``, as the engine calls it; empty: there is none of that name."""
    owner: str = ""
    """Its label; empty: dplaunch did not start it."""
    image: str = ""
    """Id of the image; empty: the machine has none of that name."""
    archive: bool = False
    """Whether the machine has the file that the image is loaded from."""
    user: int = 0
    """Number of the user that logs in."""
    lacks: tuple[str, ...] = ()
    """Paths that the container is given and that the machine does not have."""
    problem: str = ""
    """Why docker or podman could not be asked."""


class Preparation(Struct, frozen=True, kw_only=True):
    """What is done about containers before processes start: names of nodes."""

    pulled: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    """From their own archive."""
    copied: tuple[str, ...] = ()
    """From the archive of another node."""
    started: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    """Theirs was started from something else, or has ended: it is removed, and started again."""
