"""The kinds of value in a cluster file: what each accepts, and the message for anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

from dplaunch import durations
from dplaunch.engines import kinds, routers
from dplaunch.model.cluster import ArgValue, EnvValue, Family, Hardware, SecretRef
from dplaunch.nearest import did_you_mean
from dplaunch.ranges import RangeError, expand

_PRESETS: tuple[tuple[str, int, Family], ...] = (
    ("atlas-800t-a3", 16, "a3"),
    ("atlas-800i-a3", 16, "a3"),
    ("atlas-800t-a2", 8, "a2"),
    ("atlas-800i-a2", 8, "a2"),
    ("atlas-950dt", 8, "a5"),
    ("gpu-8", 8, "gpu"),
    ("cpu", 0, "cpu"),
)
"""Name, devices of one node (NPU dies or GPUs) and family."""

PRESETS = {
    name: Hardware(name=name, devices=tuple(range(count)), family=family) for name, count, family in _PRESETS
}
"""Hardware by name."""

ROUTERS = (*routers.KINDS, routers.NONE)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9._:%-]*")
_FOLDER = re.compile(r"/\S.*")
_DEVICES = re.compile(r"[0-9]+-[0-9]+|[0-9]+(?:-[0-9]+)?(?:\s*,\s*[0-9]+(?:-[0-9]+)?)+")
_WORD = re.compile(r"[^\s-]\S*")
_INTERFACE = re.compile(r"[^\s/]{1,15}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_DOLLAR = re.compile(r"\$(?:\$|\{[A-Za-z_][A-Za-z0-9_]*\}|(\{[^}]*\}?|[A-Za-z_][A-Za-z0-9_]*)|)")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+(?:\.?(?:rc|RC|post)[0-9]+)*")


def refuse(text: str, hint: str = "") -> PydanticCustomError:
    """A refusal in our words; ``{it}`` in the text becomes the key it is about."""
    return PydanticCustomError("refused", "{text}", {"text": text, "hint": hint})


def describe(value: object) -> str:
    """What the user wrote: ``the text '8'``, ``a list``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value}'" if value else "an empty text"
    if isinstance(value, int | float):
        return f"the number {value}"
    kind = "list" if isinstance(value, list) else "map"
    return f"a {kind}" if value else f"an empty {kind}"


def takes(what: str, value: object, hint: str = "") -> PydanticCustomError:
    """``dp takes a whole number, not the text '8'``."""
    return refuse(f"{{it}} takes {what}, not {describe(value)}", hint)


def checked(pattern: re.Pattern[str], text: str, hint: str = "") -> Callable[[str], str]:
    """A validator: the value as it is, or ``'VALUE' `` followed by ``text``."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise refuse(f"'{value}' {text}", hint)
        return value

    return check


def selector(key: str) -> str:
    """A key of ``overrides``: a range of engines, or of nodes after ``node:``."""
    _expand(key)
    return key


def _expand(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        hint = "put a number in quotes to make it a name" if isinstance(value, int | float) else ""
        raise takes("a name or a range such as n[1-4]", value, hint)
    try:
        return expand(value)
    except RangeError as error:
        raise refuse(str(error), "ranges are written n[1-4], n[01-16] or n[1-3,5]") from error


def _each(check: Callable[[str], str]) -> Callable[[object], tuple[str, ...]]:
    """A validator for a range of which every name must pass ``check``."""
    return lambda value: tuple(check(name) for name in _expand(value))


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and value:
        return tuple(name for item in value for name in _expand(item))
    return _expand(value)


MOST_DEVICES = 1024
"""Of one node: more is a slip of the finger."""
_DEVICES_HINT = "write 8, 4-7 or [0, 1, 3-7]; device 4 alone is [4]"


def _model_names(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        hint = "put it in quotes" if isinstance(value, int | float) else ""
        raise takes("text, or a list of names", value, hint)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refuse(f"{{it}} has '{twice}' twice", "name it once")
    return tuple(names)


def _devices(value: object) -> tuple[int, ...]:
    """A count, which starts at device 0, or the devices themselves: a range as text, or a list."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_DEVICES:
        return tuple(range(value))
    words = value if isinstance(value, list) else [value]
    if not words or not all(_is_device(word, alone=words is not value) for word in words):
        raise takes(f"a count up to {MOST_DEVICES}, or the devices that may be used", value, _DEVICES_HINT)
    try:
        numbers = [int(name) for word in words for name in expand(f"[{word}]")]
    except RangeError as error:
        raise refuse(f"{{it}}: {error}", _DEVICES_HINT) from error
    if max(numbers) >= MOST_DEVICES:
        raise refuse(f"{{it}} names device {max(numbers)}, and no node has so many", _DEVICES_HINT)
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise refuse(f"{{it}} names device {twice} twice", "name each device once")
    return tuple(numbers)


def _is_device(word: object, *, alone: bool) -> bool:
    """A number or a range; a single number that stands alone would be a count."""
    if isinstance(word, str):
        return bool(_DEVICES.fullmatch(word)) or (not alone and word.isdigit())
    return isinstance(word, int) and not isinstance(word, bool) and not alone and word >= 0


def _duration(value: object) -> float:
    seconds = durations.match(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not 0 < seconds < float("inf"):
        raise takes("a duration above zero", value, durations.HINT)
    return seconds


def engine_kind(value: object) -> str:
    """A kind that some engine is registered under."""
    return _among(kinds(), value)


def router_kind(value: object) -> str:
    """A kind of router, or none."""
    return _among(ROUTERS, value)


def _among(known: Iterable[str], value: object) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in known)})


def _version(value: object) -> str:
    hint = 'write all of it in quotes: version: "0.23.0"'
    if isinstance(value, int | float):
        raise refuse("{it} is written as a number, and 0.10 would become 0.1", hint)
    if not isinstance(value, str) or not _VERSION.fullmatch(value.removeprefix("v")):
        raise takes("a version such as 0.23.0 or 0.20.2rc1", value, hint)
    return value.removeprefix("v")


def _expert_parallel(value: object) -> bool | int:
    if isinstance(value, bool) or (isinstance(value, int) and value >= 1):
        return value
    raise takes("true, false or dp × pcp × tp", value, "true derives the size")


def dbo(value: object) -> object:
    """``true`` → no threshold of its own, ``false`` → nothing; maps pass."""
    if isinstance(value, bool):
        return {} if value else None
    if isinstance(value, dict):
        return value
    raise takes("true, false or a map of its thresholds", value, "true takes the engine's own thresholds")


def preset(value: object) -> object:
    """A hardware's name → what stands for it; maps pass."""
    if isinstance(value, str):
        if value not in PRESETS:
            raise refuse(
                f"hardware '{value}' is not known",
                did_you_mean(value, PRESETS, f"known are: {', '.join(PRESETS)}"),
            )
        known = PRESETS[value]
        return {"name": known.name, "devices": len(known.devices), "family": known.family}
    if isinstance(value, dict):
        return value
    raise takes("a name, or a map with devices and family", value, f"known names are: {', '.join(PRESETS)}")


def secret(value: object) -> SecretRef:
    """``{from_env: NAME}`` or ``{from_file: PATH}``; raises a refusal for anything else."""
    hint = "write {from_env: NAME} or {from_file: PATH}"
    if isinstance(value, list):
        hint += "; keys of several clients have names: api_keys: {team-a: {from_env: NAME}}"
    if not isinstance(value, dict):
        raise takes("where the secret is found", value, hint)
    for key, source in (("from_env", "env"), ("from_file", "file")):
        name = value.get(key)
        if value.keys() == {key} and isinstance(name, str) and name:
            return SecretRef("env" if source == "env" else "file", name)
    raise refuse("{it} does not name a secret", hint)


def _env_value(value: object) -> EnvValue:
    if isinstance(value, dict):
        return secret(value)
    if not isinstance(value, str):
        raise takes("text, or a secret as {from_env: NAME}", value, "an environment holds only text")
    for match in _ENV_DOLLAR.finditer(value):
        if slip := match.group(1):
            name = re.sub(r"[^A-Za-z0-9_]", "", slip) or "NAME"
            raise refuse(
                f"${slip} in {{it}} is neither ${{NAME}} nor plain text",
                f"write ${{{name}}} for the node's value, or $${slip} for these letters",
            )
    return value


def _arg_value(value: object) -> ArgValue:
    if isinstance(value, list):
        return tuple(_arg_value(item) for item in value)
    if isinstance(value, dict):
        return {key: _arg_value(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float) else None


_TEXT = {"type": "string"}
_SECRET = {
    "type": "object",
    "oneOf": [{"required": ["from_env"]}, {"required": ["from_file"]}],
    "properties": {"from_env": _TEXT, "from_file": _TEXT},
    "additionalProperties": False,
}
_RANGE = WithJsonSchema({"type": "string"})


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(kinds)} if len(kinds) > 1 else kinds[0])


_name = checked(_NAME, "is not a valid name: use up to 63 letters, digits, '.', '_' and '-'")
_host = checked(_HOST, "is neither a host name nor an address")

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, AfterValidator(_name)]
Word = Annotated[str, AfterValidator(checked(_WORD, "must be one word that does not begin with a dash"))]
Folder = Annotated[str, AfterValidator(checked(_FOLDER, "is not an absolute path"))]
Mount = Annotated[
    str,
    AfterValidator(
        checked(
            re.compile(r"/[^:\s]*(?::/[^:\s]*(?::[A-Za-z,]+)?)?"),
            "is not a mount",
            "write PATH, PATH:PATH or PATH:PATH:ro, with absolute paths",
        )
    ),
]
Memory = Annotated[
    str, AfterValidator(checked(re.compile(r"[1-9][0-9]*[bkmg]?"), "is not a size of memory", "as in 64g"))
]
MOST = 65536
"""Parallel sizes and groups beyond any cluster: a slip of the finger must not take all memory."""

Tokens = Annotated[int, Field(ge=1)]
Threshold = Annotated[int, Field(ge=2)]
"""Tokens of a step that is split: fewer cannot be."""
Size = Annotated[int, Field(ge=1, le=MOST)]
Devices = Annotated[
    tuple[int, ...],
    PlainValidator(_devices),
    _schema(
        {"type": "integer", "minimum": 0},
        _TEXT,
        {"type": "array", "items": {"anyOf": [{"type": "integer", "minimum": 0}, _TEXT]}, "minItems": 1},
    ),
]
Interface = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(
        checked(_INTERFACE, "is not the name of a network interface", "`ip -br link` prints them")
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
NodeNames = Annotated[tuple[str, ...], PlainValidator(_each(_name)), _RANGE]
Hosts = Annotated[tuple[str, ...], PlainValidator(_each(_host)), _RANGE]
Names = Annotated[
    tuple[str, ...], PlainValidator(_names), _schema(_TEXT, {"type": "array", "items": _TEXT, "minItems": 1})
]
ModelNames = Annotated[
    tuple[str, ...],
    PlainValidator(_model_names),
    _schema(_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}),
]
Duration = Annotated[
    float, PlainValidator(_duration), _schema({"type": "number", "exclusiveMinimum": 0}, _TEXT)
]
Version = Annotated[str, PlainValidator(_version), WithJsonSchema({"type": "string"})]
ExpertParallel = Annotated[
    bool | int,
    PlainValidator(_expert_parallel),
    _schema({"type": "boolean"}, {"type": "integer", "minimum": 1}),
]
Secret = Annotated[SecretRef, PlainValidator(secret), WithJsonSchema(_SECRET)]
EnvName = Annotated[
    str, AfterValidator(checked(_ENV_NAME, "is not a valid variable name: use letters, digits and '_'"))
]
EnvText = Annotated[
    EnvValue,
    PlainValidator(_env_value),
    _schema(_TEXT, {"type": "number"}, {"type": "boolean"}, _SECRET),
]
Env = dict[EnvName, EnvText]
ArgAny = Annotated[Any, PlainValidator(_arg_value), WithJsonSchema({})]


_URL_PATH = re.compile(r"/[^\s?#]*")
_FILE_PATH = re.compile(r"/?(?!\.\.?(?:/|$))[^/\0]+(?:/(?!\.\.?(?:/|$))[^/\0]+)*")
_MODE = re.compile(r"0?[0-7]{3}")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_REDIS_URL = re.compile(r"redis://(?:[^\s:/@\[\]]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?")


def _mode(value: object) -> int:
    if isinstance(value, str) and _MODE.fullmatch(value):
        return int(value, 8)
    raise takes('permissions in quotes, as in "0640"', value)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise refuse(
            f"'{value}' is not a regular expression: {error}", "escape ( ) [ ] . * + ? with \\"
        ) from error
    return value


def _command_word(value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _env_value_of_command(str(value))
    raise takes("text or a number for each word", value, "put the word in quotes")


def _env_value_of_command(word: str) -> str:
    """A word in which ``${NAME}`` is the node's own value, as in ``env``."""
    given = _env_value(word)
    return given if isinstance(given, str) else word


UrlPath = Annotated[str, AfterValidator(checked(_URL_PATH, "is not a path such as /health"))]
FilePath = Annotated[
    str,
    AfterValidator(
        checked(_FILE_PATH, "is not the path of a file", "write /etc/limits.json, or limits.json")
    ),
]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
Mode = Annotated[int, PlainValidator(_mode), WithJsonSchema({"type": "string", "pattern": _MODE.pattern})]
Owner = Annotated[str, AfterValidator(checked(_OWNER, "is neither a user nor user:group"))]
RedisUrl = Annotated[
    str,
    AfterValidator(
        checked(
            _REDIS_URL,
            "is not an address such as redis://192.0.2.9:6379",
            "a password goes into redis.password: {from_env: NAME}",
        )
    ),
]
CommandWord = Annotated[str, PlainValidator(_command_word), _schema({"type": "string"}, {"type": "number"})]
