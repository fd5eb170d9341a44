"""``explain``: what a key of the cluster file means, its kind and default, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from operator import eq
from typing import Any

from dplaunch.errors import UsageError
from dplaunch.nearest import nearest
from dplaunch.spec.jsonschema import Json, SchemaKey, bare_schema, find, properties, required
from dplaunch.spec.reference import Entry, entries
from dplaunch.spec.words import words

_INDEX = re.compile(r"\[[^\]]*\]")


def explain(key: str, others: Iterable[str] = ()) -> str:
    """The reference's part about ``key``: ``roles.decode.dp``, ``roles.*.dp``, or ``dp`` wherever it stands.

    Alone or before it stands the meaning of a word of ours (``group``). Raises ``UsageError`` for a key that
    does not exist; ``others`` is what else may have been meant.
    """
    schema = bare_schema()
    meaning = words().get(key.strip().lower(), "")
    path = tuple(_INDEX.sub("", key).split("."))
    if path[0].replace("-", "_") in schema["properties"]:
        path = (path[0].replace("-", "_"), *path[1:])
    exact = find(schema, path)
    sites = [exact] if exact else [site for site in properties(schema) if (site.key,) == path]
    if not sites and meaning:
        return f"{meaning}\n"
    if not sites:
        raise _unknown(key, schema, others)
    documented = [entry for entry in entries() if entry.comment]
    chosen = (_closest(schema, site, path, documented) for site in sites)
    asked = path if exact else None
    parts = [_part(schema, site, entry, asked) for site, entry in zip(sites, chosen, strict=True)]
    return "\n".join([f"{meaning}\n", *parts] if meaning else parts)


def _closest(schema: Json, site: SchemaKey, path: tuple[str, ...], documented: list[Entry]) -> Entry:
    """Of the places that document the key, the one nearest to the path that was asked for."""
    about = (entry for entry in documented if find(schema, entry.path) == site)
    return max(about, key=lambda entry: _shared(entry.path, path))


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts from the top are equal."""
    return len(list(takewhile(bool, map(eq, one, other))))


def _unknown(key: str, schema: Json, others: Iterable[str]) -> UsageError:
    last = key.rpartition(".")[2]
    keys = {site.key: key.removesuffix(last) + site.key for site in properties(schema)}
    near = nearest(last, [*keys, *others]) or nearest(last, words())
    guess = near if near == last else keys.get(near, near)
    hint = f"did you mean '{guess}'?" if guess else f"sections are: {', '.join(schema['properties'])}"
    return UsageError(f"the cluster file has no key '{key}'", hint=hint)


def _part(schema: Json, site: SchemaKey, entry: Entry, asked: tuple[str, ...] | None) -> str:
    """Under the path that was asked for; where the reference has another one, its example follows."""
    value = properties(schema)[site]
    facts = [kind(schema, value)]
    if required(schema, site):
        facts.append("required")
    if "default" in value:
        facts.append(f"default {_written(value['default'])}")
    path = asked or entry.path
    example = [] if path == entry.path else [f"As in the example at {'.'.join(entry.path)}:", ""]
    return "\n".join([f"{'.'.join(path)}: {'; '.join(facts)}", "", *example, *entry.lines, ""])


def kind(schema: Json, value: Json) -> str:
    """What the key takes, in words: ``a whole number, at least 1``."""
    return " or ".join(dict.fromkeys(_kinds(schema, value)))


def _kinds(schema: Json, value: Json) -> Iterator[str]:
    if "anyOf" in value:
        for one in value["anyOf"]:
            yield from _kinds(schema, one)
    elif "$ref" in value:
        section = schema["$defs"][value["$ref"].rpartition("/")[2]]
        yield f"keys: {', '.join(section['properties'])}"
    elif "oneOf" in value:
        yield " or ".join(f"{{{key}: …}}" for key in value["properties"])
    elif "enum" in value:
        yield f"one of {', '.join(value['enum'])}"
    elif value.get("type") == "array":
        yield f"a list of {kind(schema, value['items'])}"
    else:
        yield _WORDS.get(str(value.get("type")), "any value") + _bounds(value)


_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "keys with values",
}


def _bounds(value: Json) -> str:
    words = {"minimum": ", at least", "maximum": ", at most", "exclusiveMinimum": " above"}
    return "".join(f"{word} {value[bound]}" for bound, word in words.items() if bound in value)


def _written(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else f"{default}"
