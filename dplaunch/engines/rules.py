"""Rules that several engines share."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, EnvValue, NodeSpec, Override, RoleSpec

MUST_AGREE = ("quantization", "dtype", "kv-cache-dtype", "block-size", "revision")
"""Flags that prefill and decode must agree on; no engine checks it."""


def environments(spec: ClusterSpec) -> Iterator[tuple[str, Mapping[str, EnvValue]]]:
    """Every place of the file with an environment: (key path, variables)."""
    return ((f"{place}.env", holder.env) for place, holder in _places(spec))


def arguments(spec: ClusterSpec) -> Iterator[tuple[str, Mapping[str, ArgValue]]]:
    """Every place of the file with flags: (key path, flags)."""
    return ((f"{place}.args", holder.args) for place, holder in _places(spec))


def _places(spec: ClusterSpec) -> Iterator[tuple[str, RoleSpec | NodeSpec | Override]]:
    yield from ((f"roles.{role.name}", role) for role in spec.roles)
    yield from ((f"nodes.{node.name}", node) for node in spec.nodes)
    yield from ((f"overrides.{name}", override) for name, override in spec.overrides.items())


class Settings(Struct, frozen=True):
    """The flags and the environment that one place of the file gives to engines."""

    place: str
    """``roles.decode``: the key path above ``args`` and ``env``."""
    args: Mapping[str, ArgValue]
    env: Mapping[str, EnvValue]


def reaching(spec: ClusterSpec, role: RoleSpec) -> Iterator[Settings]:
    """Every place of the file whose settings reach an engine of the role."""
    places = {f"roles.{role.name}", *(f"nodes.{name}" for name in role.nodes)}
    places |= {f"overrides.node:{name}" for name in role.nodes}
    own = re.compile(rf"overrides\.{role.name}-\d+")
    for place, holder in _places(spec):
        if place in places or own.fullmatch(place):
            yield Settings(place, holder.args, holder.env)


def warning(text: str, key: str, hint: str, source: str) -> Problem:
    """Return a problem that does not stop a start."""
    return Problem(text, key=key, hint=hint, source=source, warning=True)


def devices_chosen(spec: ClusterSpec, variable: str) -> Iterator[Problem]:
    """A problem where the file sets the variable of each rank's devices, which ``devices`` decides."""
    for place, env in environments(spec):
        if variable in env:
            given = str(env[variable])
            numbers = re.fullmatch(r"\d+(,\d+)*", given)
            example = given.replace(",", ", ") if numbers else "4-7"
            yield Problem(
                f"'{variable}' is computed by dplaunch for every rank",
                key=f"{place}.{variable}",
                hint=f"remove it, and write devices: [{example}] in hardware or at the node",
                at_key=True,
            )
            return


def forbidden(spec: ClusterSpec, variables: Collection[str], why: str, hint: str) -> Iterator[Problem]:
    """A problem per variable that the file must not set; ``{name}`` in ``why`` is the variable."""
    seen: set[str] = set()
    for place, env in environments(spec):
        for name in env:
            if name in variables and name not in seen:
                seen.add(name)
                yield Problem(why.format(name=name), key=f"{place}.{name}", hint=hint, at_key=True)


def check_agreement(spec: ClusterSpec) -> Iterator[Problem]:
    """Warnings: settings that differ between prefill and decode although their KV must fit."""
    if not spec.disaggregated:
        return
    first, *others = spec.roles
    for other in others:
        for flag in MUST_AGREE:
            ours, theirs = first.args.get(flag), other.args.get(flag)
            if ours != theirs:
                yield Problem(
                    f"{flag} is {_describe(ours)} for {first.name} and {_describe(theirs)} for {other.name}: "
                    "their KV caches would not match, and the engines do not check it",
                    key=f"roles.{other.name}.args.{flag}",
                    hint="set it once, in defaults.args",
                    warning=True,
                )


def _describe(value: object) -> str:
    return "not set" if value is None else f"'{value}'"
