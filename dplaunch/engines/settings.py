"""Environment and flags of one engine, merged, and what the engines of one script share.

Precedence: defaults < role (both already in ``RoleSpec``) < node < override of the node < of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from dplaunch.engines.adapter import Site
from dplaunch.engines.flags import words
from dplaunch.model.cluster import ArgValue, EnvValue, Override, SecretRef
from dplaunch.model.plan import Seat

Env = dict[str, EnvValue]
Flags = dict[str, tuple[str, ...]]
"""Flag → its words on the command line; empty words leave it out."""

_Value = TypeVar("_Value")
_NOTHING = Override()


def user_env(site: Site, seat: Seat) -> Env:
    """The cluster file's environment for one engine."""
    layers = (site.role.env, site.node.env, *(o.env for o in _overrides(site, seat)))
    return {name: value for layer in layers for name, value in layer.items()}


def user_args(site: Site, seat: Seat) -> dict[str, ArgValue]:
    """The cluster file's ``args`` for one engine, as they are."""
    layers = (site.role.args, site.node.args, *(o.args for o in _overrides(site, seat)))
    return {key: value for layer in layers for key, value in layer.items()}


def user_flags(site: Site, seat: Seat, negatable: Callable[[str], bool]) -> Flags:
    """The cluster file's flags for one engine; ``negatable``: which of its flags have a ``--no-`` form."""
    given = user_args(site, seat)
    return {key: words(key, value, negatable=negatable(key)) for key, value in given.items()}


def secrets(site: Site, seat: Seat) -> dict[str, SecretRef]:
    """Secrets of one engine: its own environment's, and the API key where it can ask for one."""
    own = {name: value for name, value in user_env(site, seat).items() if isinstance(value, SecretRef)}
    key = site.spec.api_key
    return {site.facts.key_env: key, **own} if key and site.facts.key_env else own


def _overrides(site: Site, seat: Seat) -> tuple[Override, Override]:
    overrides = site.spec.overrides
    return overrides.get(f"node:{seat.node}", _NOTHING), overrides.get(seat.name, _NOTHING)


class Arm(Struct, frozen=True):
    """What some engines of a script have beyond the others."""

    engines: tuple[str, ...]
    labels: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    flags: tuple[tuple[str, ...], ...]


class Split(Struct, frozen=True):
    """A script's settings: shared by all its engines, then arms of a ``case``."""

    env: tuple[tuple[str, str], ...]
    flags: tuple[tuple[str, ...], ...]
    arms: tuple[Arm, ...]


def split(seats: Sequence[Seat], labels: Sequence[str], envs: Sequence[Env], flags: Sequence[Flags]) -> Split:
    """Separate what all engines have from what only some have; engines with equal rests share an arm."""
    literals = [_literal(env) for env in envs]
    shared_env, shared_flags = _shared(literals), _shared(flags)
    rests: dict[tuple[object, ...], list[int]] = {}
    for index in range(len(seats)):
        rest = (_rest(literals[index], shared_env), _rest(flags[index], shared_flags))
        rests.setdefault(rest, []).append(index)
    arms = tuple(
        Arm(
            engines=tuple(seats[i].name for i in members),
            labels=tuple(labels[i] for i in members),
            env=_rest(literals[members[0]], shared_env),
            flags=_given(w for _, w in _rest(flags[members[0]], shared_flags)),
        )
        for members in rests.values()
    )
    return Split(
        tuple(shared_env.items()),
        _given(shared_flags.values()),
        tuple(arm for arm in arms if arm.env or arm.flags),
    )


def _literal(env: Env) -> dict[str, str]:
    return {name: value for name, value in env.items() if isinstance(value, str)}


def _shared(each: Sequence[Mapping[str, _Value]]) -> dict[str, _Value]:
    first, *others = each
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in others)}


def _rest(own: Mapping[str, _Value], shared: Mapping[str, _Value]) -> tuple[tuple[str, _Value], ...]:
    return tuple((k, v) for k, v in own.items() if k not in shared)


def _given(flags: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(w for w in flags if w)
