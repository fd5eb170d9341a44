"""The user's own scripts as values: one for all roles, or one for each, with where the file names it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dplaunch.model.cluster import ClusterSpec, RoleSpec


class Own(Struct, frozen=True):
    """One script and the roles that it starts."""

    path: str
    text: str
    key: str
    roles: tuple[RoleSpec, ...]

    @property
    def name(self) -> str:
        """Its file name, for messages."""
        return self.path.rpartition("/")[2]


def script_of(spec: ClusterSpec, role: RoleSpec) -> str:
    """The text of the script that starts a role's engines."""
    return (role.script_text if role.path else spec.engine.script_text) or ""


def scripts(spec: ClusterSpec) -> Iterator[Own]:
    """Every script of the file."""
    shared = tuple(role for role in spec.roles if not role.path)
    if shared:
        text = spec.engine.script_text or ""
        yield Own(spec.engine.path or "the script", text, "engine.path", shared)
    for role in spec.roles:
        if role.path:
            yield Own(role.path, role.script_text or "", f"roles.{role.name}.path", (role,))
