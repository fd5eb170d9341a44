"""What pydantic found, as findings in our words, each at its key path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dplaunch.nearest import did_you_mean, nearest
from dplaunch.spec import values
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.schema import File

_Error = Any  # pydantic's ErrorDetails


def validate(data: dict[str, Any]) -> tuple[File | None, tuple[Finding, ...]]:
    """The file's models, or what is wrong with it."""
    try:
        return File.model_validate(data), ()
    except ValidationError as error:
        found = [_finding(detail) for detail in error.errors(include_url=False)]
        renamed = {finding.meant for finding in found}
        return None, tuple(finding for finding in found if finding.path not in renamed)


def _finding(error: _Error) -> Finding:
    path: KeyPath = tuple(error["loc"])
    if path[-1:] == ("[key]",):
        path = path[:-1]
        return Finding(path, *_words(error, path), at_key=True)
    if error["type"] == "extra_forbidden":
        return _unknown(path)
    if error["type"] == "missing":
        return _missing(path)
    return Finding(path, *_words(error, path))


def _words(error: _Error, path: KeyPath) -> tuple[str, str]:
    """Text and hint."""
    context = error.get("ctx", {})
    key = dotted(path)
    if error["type"] == "refused":
        return context["text"].replace("{it}", key, 1), context["hint"]
    value = error["input"]
    if error["type"] == "literal_error":
        return _not_among(key, value, context["expected"])
    what = _TAKES.get(error["type"])
    if what is None:
        return f"{key}: {error['msg']}", ""
    return f"{key} takes {what(context)}, not {values.describe(value)}", _remedy(error["type"], value, path)


def _remedy(kind: str, value: object, path: KeyPath) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in quotes"
    if kind == "int_type" and isinstance(value, str) and value.isdigit():
        return "remove the quotes"
    if path[-1] in _EXAMPLES:
        return f"for example: {_EXAMPLES[path[-1]]}"
    if path[:-1] == ("nodes",) and isinstance(value, str):
        return f"write - {{name: {value}, host: 192.0.2.1}}"
    return f"its keys are: {', '.join(keys_below(path))}" if kind == "model_type" else ""


_EXAMPLES: dict[str | int, str] = {
    "env": "env: {OMP_NUM_THREADS: 10}",
    "args": "args: {max-model-len: 32768}",
    "setup": 'setup: ["source /usr/local/Ascend/ascend-toolkit/set_env.sh"]',
    "nodes": "nodes: [{name: n1, host: 192.0.2.1}]",
}
"""Keys whose shape is often mistaken."""

_ENGINE_NAMES = {
    "tensor": "tp",
    "data": "dp",
    "pipeline": "pp",
    "expert": "ep",
    "prefill-context": "pcp",
    "decode-context": "dcp",
}
"""What engines call a parallelism, and our key for its size."""
_ENGINE_NAME = re.compile(
    rf"(?:enable-)?(?:{'|'.join(_ENGINE_NAMES)}|[td]p|pp|ep|p?cp|dcp)-(?:parallel|parallelism|size)(?:-size)?"
)

_TAKES: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "greater_than_equal": lambda context: f"a number of at least {context['ge']}",
    "less_than_equal": lambda context: f"a number of at most {context['le']}",
    "string_type": lambda _: "text",
    "string_too_short": lambda _: "text",
    "model_type": lambda _: "keys with values",
    "dict_type": lambda _: "keys with values",
    "list_type": lambda _: "a list",
    "too_short": lambda _: "at least one entry",
}


def _not_among(key: str, value: object, expected: str) -> tuple[str, str]:
    known = expected.replace("'", "").replace(" or ", ", ").split(", ")
    hint = did_you_mean(value, known, "") if isinstance(value, str) else ""
    return f"{key} takes one of {', '.join(known)}, not {values.describe(value)}", hint


def _missing(path: KeyPath) -> Finding:
    where = f" in {dotted(path[:-1])}" if path[:-1] else ""
    name = ".".join(part for part in path if isinstance(part, str))
    return Finding(
        path,
        f"'{path[-1]}' is missing{where}",
        f"add it; run `dplaunch explain {name}` for the values it takes",
    )


def _unknown(path: KeyPath) -> Finding:
    known = keys_below(path[:-1])
    written = str(path[-1])
    guess = _ours(written, known) or nearest(written, known)
    where = f" in {dotted(path[:-1])}" if path[:-1] else ""
    otherwise = f"known here: {', '.join(known)}"
    if "args" in known and re.search("[-_]", written):
        otherwise = f"a flag of the engine belongs into args: {{{written}: …}}; {otherwise}"
    return Finding(
        path,
        f"unknown key '{written}'{where}",
        f"did you mean '{guess}'?" if guess else otherwise,
        at_key=True,
        meant=(*path[:-1], guess) if guess else (),
    )


def _ours(written: str, known: tuple[str, ...]) -> str:
    """Our key for another name of engines': ``tensor_parallel_size`` → ``tp``, ``enable_dbo`` → ``dbo``."""
    name = written.lower().lstrip("-").replace("_", "-")
    if name.removeprefix("enable-") in known:
        return name.removeprefix("enable-")
    if not _ENGINE_NAME.fullmatch(name):
        return ""
    word = re.split("-(?:parallel|size)", name.removeprefix("enable-"))[0]
    ours = _ENGINE_NAMES.get(word, word)
    return ours if ours in known else ""


def keys_below(path: KeyPath) -> tuple[str, ...]:
    """The keys that the schema has in the section at ``path``."""
    model: type[BaseModel] = File
    for part in path:
        field = model.model_fields.get(str(part))
        model = _model_in(field.annotation) if field else model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel]:
    """The one model inside ``tuple[Node, ...]``, ``Role | None``, ``dict[str, EnvAndArgs]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_model_in(inner) for inner in get_args(annotation))
    return next((model for model in inside if model is not File), File)
