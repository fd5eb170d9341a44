"""JSON Schema of the cluster file: from the models, with the description of each key from the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dplaunch.spec.reference import entries
from dplaunch.spec.schema import File

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANY = "*"
"""In a path: any index of a list, any free key, any role."""
Json = dict[str, Any]


class SchemaKey(NamedTuple):
    """A key of the schema: the title of its section, and its name there. Roles share one section."""

    section: str
    key: str


def json_schema() -> Json:
    """The schema as JSON values, draft 2020-12; every key is described."""
    schema = bare_schema()
    for entry in entries():
        site = find(schema, entry.path)
        if site and entry.comment:
            properties(schema)[site].setdefault("description", entry.comment)
    return {"$schema": DIALECT, **schema}


def bare_schema() -> Json:
    """The schema without descriptions of keys."""
    schema = File.model_json_schema()
    schema["title"] = "dplaunch cluster file"
    for section in _sections(schema):
        for key, value in section.get("properties", {}).items():
            section["properties"][key] = _plain(value)
    return schema


def properties(schema: Json) -> dict[SchemaKey, Json]:
    """Every key of the file."""
    return {
        SchemaKey(section["title"], key): value
        for section in _sections(schema)
        for key, value in section["properties"].items()
    }


def required(schema: Json, site: SchemaKey) -> bool:
    """Whether its section cannot be without the key."""
    return any(
        site.key in section.get("required", ())
        for section in _sections(schema)
        if section["title"] == site.section
    )


def find(schema: Json, path: tuple[str, ...]) -> SchemaKey | None:
    """The key at ``path``; ``None`` when there is none.

    A free key (a variable, a flag, an engine's name) leads to the key that holds it. Indices of lists
    may be left out: ``nodes.ssh.port``.
    """
    here = schema
    site: SchemaKey | None = None
    for part in path:
        step = _step(schema, here, part)
        if step is None:
            return None
        site, here = step[0] or site, step[1]
    return site


def _step(schema: Json, here: Json, part: str) -> tuple[SchemaKey | None, Json] | None:
    forms = list(_forms(schema, here))
    if (part == ANY or part.isdigit()) and any("items" in form for form in forms):
        return None, here
    for form in forms:
        below = form.get("properties", {})
        if "title" in form and part in below:
            return SchemaKey(form["title"], part), below[part]
        if "title" in form and part == ANY:
            return None, next(iter(below.values()))
        if form.get("additionalProperties"):
            return None, form["additionalProperties"] if form["additionalProperties"] is not True else {}
    return None


def _forms(schema: Json, here: Json) -> Iterator[Json]:
    """``here``, what it refers to, its alternatives, and what it lists."""
    yield here
    if "$ref" in here:
        yield from _forms(schema, schema["$defs"][here["$ref"].rpartition("/")[2]])
    for kind in (*here.get("anyOf", ()), *([here["items"]] if "items" in here else ())):
        yield from _forms(schema, kind)


def _sections(schema: Json) -> tuple[Json, ...]:
    return (schema, *schema["$defs"].values())


def _plain(value: Json) -> Json:
    """Without what pydantic adds of itself: titles made from names, and null for "not given"."""
    kinds = [kind for kind in value.get("anyOf", []) if kind != {"type": "null"}]
    rest = {
        k: v for k, v in value.items() if k not in {"title", "anyOf"} and (k != "default" or v is not None)
    }
    if len(kinds) == 1:
        return {**kinds[0], **rest}
    return {"anyOf": kinds, **rest} if kinds else rest
