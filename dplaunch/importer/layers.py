"""Values of many processes as few entries: what all have, what a role has, a node, one engine."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from dplaunch.importer.arguments import same
from dplaunch.ranges import grouped

Values = Mapping[str, Any]
_Key = TypeVar("_Key", bound=Hashable)


def common(maps: Sequence[Values]) -> dict[str, Any]:
    """The entries that all have, in the order of the first."""
    first = maps[0] if maps else {}
    return {
        key: value
        for key, value in first.items()
        if all(key in one and same(one[key], value) for one in maps)
    }


def without(values: Values, shared: Values) -> dict[str, Any]:
    """The entries that are not shared ones."""
    return {key: value for key, value in values.items() if key not in shared}


def split(
    pairs: Iterable[tuple[_Key, Values]],
) -> tuple[dict[str, Any], dict[_Key, Sequence[dict[str, Any]]]]:
    """What all have, and for each key what is left of each of its maps."""
    listed = list(pairs)
    shared = common([values for _, values in listed])
    return shared, {
        key: [without(values, shared) for values in found] for key, found in grouped(listed).items()
    }
