"""YAML text → plain data with the place of every key and value. Knows YAML, not what a cluster is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import yaml
from msgspec import Struct, field
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dplaunch.errors import Problem, SpecError
from dplaunch.spec import scalars
from dplaunch.spec.finding import Finding, KeyPath, Place, dotted
from dplaunch.spec.lookalikes import repair
from dplaunch.spec.syntax import syntax_problem, unreadable

MOST_VALUES = 20_000
"""Values a file may unfold to: aliases of aliases grow without bound."""

DEEPEST = 20
"""Levels of lists and maps in a file."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_MERGE = "tag:yaml.org,2002:merge"


class Reading(Enum):
    """How scalars at a path are read."""

    VALUE = "value"
    """As YAML has it; nothing written is a finding."""
    WRITTEN = "written"
    """As text, letter by letter: ``true``, ``010``."""
    ANY = "any"
    """As YAML has it; ``null`` too."""


class Spot(Struct, frozen=True):
    """Where a key stands, and its value."""

    key: Place
    value: Place


class Document(Struct, frozen=True):
    """A file as data, with what YAML alone shows to be wrong. ``places`` is by key path.

    ``slips`` are characters that only look right: the data are as if they were.
    """

    file: str
    lines: tuple[str, ...]
    data: dict[str, Any]
    places: Mapping[KeyPath, Spot]
    findings: tuple[Finding, ...]
    slips: tuple[Finding, ...] = ()

    def problem(self, finding: Finding) -> Problem:
        """The finding at its place; for a key that is not there, at the nearest one above it."""
        line, column = finding.place or self._place(finding.path, at_key=finding.at_key)
        return _problem(self.file, self.lines, finding, line, column)

    def _place(self, path: KeyPath, *, at_key: bool) -> Place:
        above = path
        while above not in self.places:
            above = above[:-1]
        spot = self.places[above]
        return spot.key if at_key or above != path else spot.value


def _problem(file: str, lines: tuple[str, ...], finding: Finding, line: int, column: int) -> Problem:
    return Problem(
        text=finding.text,
        file=file,
        line=line,
        column=column,
        key=dotted(finding.path),
        source_line=lines[line - 1].rstrip() if line <= len(lines) else "",
        hint=finding.hint,
        warning=finding.warning,
        source=finding.source,
    )


def read(text: str, file: str, reading: Callable[[KeyPath], Reading]) -> Document:
    """Read the text of ``file``. Raises ``SpecError`` when it is not a YAML map."""
    lines = tuple(_BREAK.split(text))
    if hopeless := unreadable(text, file, lines):
        raise SpecError((hopeless,))
    meant, slips = repair(text, lines)
    try:
        node = yaml.compose(meant, Loader=_LOADER)
    except yaml.YAMLError as error:
        first = tuple(_problem(file, lines, slip, *slip.place) for slip in slips if slip.place)
        raise SpecError(first or (syntax_problem(error, file, lines),)) from error
    if node is None:
        raise SpecError(
            (Problem("the file is empty", file=file, hint="dplaunch init writes one to start from"),)
        )
    if not isinstance(node, MappingNode):
        raise SpecError((_not_a_map(node, file, lines),))
    walk = _Walk(reading)
    data = walk.mapping(node, ())
    walk.places[()] = Spot(_place(node), _place(node))
    if walk.left <= 0:
        raise SpecError((Problem(f"aliases unfold this file to more than {MOST_VALUES} values", file=file),))
    return Document(file, lines, data, walk.places, tuple(walk.findings), slips)


def _not_a_map(node: Node, file: str, lines: tuple[str, ...]) -> Problem:
    what = "a list" if isinstance(node, SequenceNode) else "text"
    place = _place(node)
    line = min(place.line, len(lines))  # nothing after a last "---" stands on the line below it
    return Problem(
        f"the file holds {what}, not keys with values",
        file=file,
        line=line,
        column=place.column,
        source_line=lines[line - 1].rstrip(),
        hint="start with: cluster: NAME (dplaunch init writes a whole file)",
    )


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


class _Walk(Struct):
    """One pass over the nodes."""

    reading: Callable[[KeyPath], Reading]
    places: dict[KeyPath, Spot] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    open: list[Node] = field(default_factory=list)
    left: int = MOST_VALUES

    def value(self, node: Node, path: KeyPath) -> Any:
        self.left -= 1
        if isinstance(node, ScalarNode):
            return self.scalar(node, path)
        if self.left <= 0 or self.bottomless(node, path):
            return None
        self.open.append(node)
        data = self.mapping(node, path) if isinstance(node, MappingNode) else self.sequence(node, path)
        self.open.pop()
        return data

    def bottomless(self, node: Node, path: KeyPath) -> bool:
        """Return whether to stop here, after adding a finding that explains it."""
        if any(node is outer for outer in self.open):
            self.add(
                path, f"{dotted(path)} contains itself", "an alias (*name) may not stand inside what it names"
            )
        elif len(self.open) >= DEEPEST:
            self.add(
                path,
                f"values nest more than {DEEPEST} levels deep here",
                "look for brackets that are not closed",
            )
        else:
            return False
        return True

    def sequence(self, node: Node, path: KeyPath) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.places[here] = Spot(_place(item), _place(item))
            items.append(self.value(item, here))
        return items

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = self.merge(value, path)
        own: dict[str, Any] = {}
        for key_node, value in node.value:
            key = None if key_node.tag == _MERGE else self.key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in own:
                first = self.places[here].key
                self.add(
                    here,
                    f"'{key}' is already given on line {first.line}",
                    "keep one of the two",
                    _place(key_node),
                )
                continue
            self.places[here] = Spot(_place(key_node), _place(value))
            if isinstance(key_node, ScalarNode) and self.glued(key_node, value, path):
                continue
            own[key] = self.value(value, here)
        return merged | own

    def glued(self, key: ScalarNode, value: Node, path: KeyPath) -> bool:
        """Whether a key has its value glued to it (``{method:mtp}``), after adding a finding."""
        name, _, rest = key.value.partition(":")
        if key.style or not (name and rest) or value.start_mark.index != value.end_mark.index:
            return False
        meant = (*path, name)
        self.findings.append(
            Finding(
                (*path, key.value),
                f"'{key.value}' has no space after its ':', so all of it is one key without a value",
                f"write {name}: {rest}",
                at_key=True,
                meant=meant,
            )
        )
        return True

    def merge(self, node: Node, path: KeyPath) -> dict[str, Any]:
        """What ``<<:`` brings in; of several maps the first that has a key gives it."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            if isinstance(source, MappingNode):
                merged |= self.value(source, path) or {}
            else:
                self.add(
                    path,
                    "<< takes a map, or a list of maps",
                    "name one with an alias: <<: *name",
                    _place(source),
                )
        return merged

    def key(self, node: Node, path: KeyPath) -> str | None:
        if not isinstance(node, ScalarNode):
            self.add(path, "a key must be one word, not a list or a map", place=_place(node))
            return None
        surprise = None if node.style else scalars.surprise(node.value, node.tag)
        if surprise and self.reading((*path, node.value)) is not Reading.WRITTEN:
            self.add(
                (*path, node.value),
                f"the key {surprise.text}",
                f'write "{node.value}" in quotes',
                _place(node),
            )
        return str(node.value)

    def scalar(self, node: ScalarNode, path: KeyPath) -> scalars.Scalar:
        reading = self.reading(path)
        if "\0" in node.value:
            self.add(
                path, f"{dotted(path)} has a zero byte, which no command line can hold", r"remove the \0"
            )
        if node.tag.endswith(":null") and reading is not Reading.ANY:
            self.add(
                path, f"{dotted(path)} has no value", 'give it one, or remove the key ("" is the empty text)'
            )
            return None
        if reading is Reading.WRITTEN:
            return str(node.value)
        surprise = None if node.style else scalars.surprise(node.value, node.tag)
        if surprise:
            self.add(path, *surprise)
        try:
            return scalars.value(node.value, node.tag)
        except ValueError:
            self.add(
                path, f"the YAML tag {scalars.short(node.tag)} does not fit here", "write the plain value"
            )
            return str(node.value)

    def add(self, path: KeyPath, text: str, hint: str = "", place: Place | None = None) -> None:
        self.findings.append(Finding(path, text, hint, place=place))
