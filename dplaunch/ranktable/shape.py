"""The shape of a rank table: objects, arrays and fields → ``Table``, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from dplaunch.errors import Problem
from dplaunch.nearest import nearest
from dplaunch.ranktable import fields
from dplaunch.ranktable.fields import LONGEST_ID, FieldRule
from dplaunch.ranktable.positions import Members, Node, Place
from dplaunch.ranktable.table import Cell, Entry, Pod, Server, Table
from dplaunch.words import shorten

OTHERS = {
    "server_group_list": "this is a global rank table of pods, which dplaunch cannot verify",
    "rank_list": "this is a rank table of the 950 generation (2.0), which dplaunch cannot verify",
}
"""Keys of other files that are called rank table too, and what they are."""

_FIELDS = {
    "server_list",
    "super_pod_list",
    "device",
    "prefill_device_list",
    "decode_device_list",
    *(name for rules in (fields.TABLE, fields.SERVER, fields.DEVICE, fields.POD) for name in rules),
}


def breach(place: Place, key: str, text: str, hint: str = "", *, warning: bool = False) -> Problem:
    """Return a problem at a place of the file; ``verify`` adds the file and the line itself."""
    return Problem(text, line=place.line, column=place.column, key=key, hint=hint, warning=warning)


def read_table(root: Node) -> tuple[Table | None, tuple[Problem, ...]]:
    """Return what a file holds, and everything in it that cannot be read."""
    other = _find_other(root)
    if other:
        return None, (other,)
    reading = Reading()
    return reading.table(root), tuple(reading.problems)


def _find_other(root: Node) -> Problem | None:
    if not isinstance(root.value, Members):
        return breach(root.place, "", f"a rank table is an object, but the file holds {root.describe()}")
    found = next((key for key in OTHERS if key in root.value.nodes), "")
    return breach(root.value.nodes[found].place, found, OTHERS[found]) if found else None


class Reading(Struct):
    """One pass over a file: what cannot be read is in ``problems``."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, place: Place, key: str, text: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(breach(place, key, text, hint))

    def table(self, root: Node) -> Table:
        """Return HCCL's table."""
        servers, pods = self.array(root, "", "server_list"), self.array(root, "", "super_pod_list")
        given = root.value.nodes if isinstance(root.value, Members) else {}
        if "server_list" not in given:
            self.miss(root, "", "server_list")
        return Table(
            **self.entry(root, "", fields.TABLE),
            servers=tuple(self.server(node, key) for key, node in servers.items()),
            pods=tuple(self.pod(node, key) for key, node in pods.items()),
            places={key: node.place for key, node in given.items()},
        )

    def server(self, node: Node, key: str) -> Server:
        """Return an entry of ``server_list``."""
        devices = self.array(node, key, "device")
        if isinstance(node.value, Members) and "device" not in node.value.nodes:
            self.miss(node, key, "device")
        found = tuple(Entry(**self.entry(one, path, fields.DEVICE)) for path, one in devices.items())
        return Server(**self.entry(node, key, fields.SERVER), devices=found)

    def pod(self, node: Node, key: str) -> Pod:
        """Return an entry of ``super_pod_list``."""
        servers = self.array(node, key, "server_list")
        if isinstance(node.value, Members) and "server_list" not in node.value.nodes:
            self.miss(node, key, "server_list")
        found = tuple(Entry(**self.entry(one, path, fields.POD_SERVER)) for path, one in servers.items())
        return Pod(**self.entry(node, key, fields.POD), servers=found)

    def entries(self, node: Node, name: str, rules: Mapping[str, FieldRule]) -> tuple[Entry, ...]:
        """Return the objects of an array that the file must have."""
        if isinstance(node.value, Members) and name not in node.value.nodes:
            self.miss(node, "", name)
        found = self.array(node, "", name)
        return tuple(Entry(**self.entry(one, path, rules)) for path, one in found.items())

    def entry(self, node: Node, key: str, rules: Mapping[str, FieldRule]) -> dict[str, Any]:
        """Return the arguments of an ``Entry``: its place, its path and its fields."""
        if not isinstance(node.value, Members):
            self.add(node.place, key, f"{key} is {node.describe()}; an object is needed")
            return {"place": node.place, "key": key, "cells": {}}
        for name, place in node.value.repeated:
            self.add(place, _join(key, name), f"'{name}' is given twice", "keep one of the two")
        cells = {name: self.cell(one, _join(key, name), rules[name]) for name, one in _known(node, rules)}
        for name, rule in rules.items():
            if rule.needed and name not in cells:
                self.miss(node, key, name)
        return {"place": node.place, "key": key, "cells": cells}

    def miss(self, node: Node, key: str, name: str) -> None:
        """Note that an object lacks a field, and the one that was written in its place."""
        given = node.value.nodes.keys() if isinstance(node.value, Members) else ()
        near = nearest(name, set(given) - _FIELDS)
        hint = f"'{near}' is given here: write '{name}'" if near else ""
        self.add(node.place, _join(key, name), f"{name} is missing", hint)

    def cell(self, node: Node, key: str, rule: FieldRule) -> Cell:
        """Return a field as text, whether or not it was written as text."""
        name = key.rpartition(".")[2]
        if not isinstance(node.value, str):
            meant = _as_text(node)
            hint = f'write "{meant}", in quotes' if meant else ""
            self.add(
                node.place, key, f"{name} is {node.describe()}; every value of a rank table is text", hint
            )
            return Cell(meant if meant and rule.kind(meant) is None else None, node.place, key)
        wrong = rule.kind(node.value)
        if wrong:
            quoted = shorten(json.dumps(node.value), LONGEST_ID)
            self.add(node.place, key, f"{name} {quoted} {wrong.text}", wrong.hint)
        return Cell(None if wrong else node.value, node.place, key)

    def array(self, node: Node, key: str, name: str) -> dict[str, Node]:
        """Return the items of an array by their paths; nothing where it is not given."""
        found = node.value.nodes.get(name) if isinstance(node.value, Members) else None
        if found is None:
            return {}
        path = _join(key, name)
        if not isinstance(found.value, tuple):
            self.add(found.place, path, f"{name} is {found.describe()}; an array is needed")
            return {}
        if not found.value:
            self.add(found.place, path, f"{name} is empty")
        return {f"{path}[{index}]": item for index, item in enumerate(found.value)}


def _known(node: Node, rules: Mapping[str, FieldRule]) -> list[tuple[str, Node]]:
    """Return the members that have a rule; readers ignore the others."""
    members = node.value.nodes if isinstance(node.value, Members) else {}
    return [(name, one) for name, one in members.items() if name in rules]


def _as_text(node: Node) -> str:
    """Return what a number was meant to be, so that the other rules can be applied; else empty."""
    meant = isinstance(node.value, int) and not isinstance(node.value, bool)
    return str(node.value) if meant else ""


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
