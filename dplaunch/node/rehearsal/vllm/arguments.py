"""The command line of ``vllm serve``, parsed as strictly as the engine does."""

from __future__ import annotations

import json

from . import flags

USAGE = "usage: vllm serve [model_tag] [options]"
DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


class UsageError(Exception):
    """Argparse's answer to a wrong command line: the engine prints it and exits with 2."""


class Arguments:
    """Model and options of one ``vllm serve``; ``options`` maps names without dashes to values."""

    def __init__(self, model: str, options: dict[str, object]) -> None:
        self.model = model
        self.options = options

    def word(self, name: str, default: str = "") -> str:
        """A text option."""
        value = self.options.get(name)
        return default if value is None else str(value)

    def number(self, name: str, default: int) -> int:
        """A whole-number option."""
        value = self.options.get(name)
        return value if isinstance(value, int) else default

    def flag(self, name: str) -> bool:
        """A switch; off when not given."""
        return self.options.get(name) is True

    def table(self, name: str) -> dict[str, object]:
        """A JSON object option; empty when not given."""
        value = self.options.get(name)
        return value if isinstance(value, dict) else {}

    def words(self, name: str) -> list[str]:
        """An option with several words."""
        value = self.options.get(name)
        return [str(item) for item in value] if isinstance(value, list) else []


def parse(argv: list[str], release: tuple[int, ...]) -> Arguments:
    """``argv`` is what follows ``vllm serve``; raises UsageError with argparse's words."""
    known = flags.known(release)
    options: dict[str, object] = {}
    loose: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if not _is_option(token):
            loose.append(token)
            continue
        name, path, inline = _split_option(token, known)
        if not name:
            loose.append(token)
        elif name not in known:
            options[name[len("no-") :]] = False
        elif path:
            _set_inside(options, name, path, inline if inline is not None else _take_one(token, rest))
        else:
            options[name] = _take_value(token, known[name], inline, rest)
    model = loose.pop(0) if loose and not loose[0].startswith("-") else str(options.get("model", ""))
    if loose:
        raise UsageError(f"vllm: error: unrecognized arguments: {' '.join(loose)}")
    return Arguments(model or "Qwen/Qwen3-0.6B", options)


def _is_option(token: str) -> bool:
    return token.startswith("-") and len(token) > 1 and not _is_number(token)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _split_option(token: str, known: dict[str, int]) -> tuple[str, list[str], str | None]:
    """(option name or "", path below it for ``--json.key``, value after ``=``)."""
    head, equals, tail = token.partition("=")
    inline = tail if equals else None
    if head.startswith("-O") and head[2:3] in tuple("0123") and len(head) == len("-O3"):
        return "optimization-level" if "optimization-level" in known else "compilation-config", [], head[2:]
    if not head.startswith("--"):
        name = flags.ALIASES.get(head, "")
        return (name if name in known else ""), [], inline
    stem, *path = head[2:].split(".")
    name = stem.replace("_", "-")
    if name not in known:
        name = _match_negation(name, known) or _complete_name(head, name, known)
    return name, path, inline


def _match_negation(name: str, known: dict[str, int]) -> str:
    positive = name[len("no-") :] if name.startswith("no-") else ""
    return name if known.get(positive) == flags.FLAG else ""


def _complete_name(head: str, name: str, known: dict[str, int]) -> str:
    """Argparse takes any unambiguous beginning of a flag."""
    matches = [flag for flag in known if flag.startswith(name)]
    if len(matches) > 1:
        could = ", ".join(f"--{flag}" for flag in matches)
        raise UsageError(f"vllm serve: error: ambiguous option: {head} could match {could}")
    return matches[0] if matches else ""


def _take_one(token: str, rest: list[str]) -> str:
    if not rest or _is_option(rest[0]):
        raise UsageError(f"vllm serve: error: argument {token}: expected one argument")
    return rest.pop(0)


def _take_words(token: str, inline: str | None, rest: list[str]) -> list[str]:
    found = [inline] if inline is not None else [_take_one(token, rest)]
    while inline is None and rest and not _is_option(rest[0]):
        found.append(rest.pop(0))
    return found


def _take_value(token: str, kind: int, inline: str | None, rest: list[str]) -> object:
    if kind == flags.FLAG:
        if inline is not None:
            raise UsageError(f"vllm serve: error: argument {token}: ignored explicit argument '{inline}'")
        return True
    if kind == flags.WORDS:
        return _take_words(token, inline, rest)
    if kind == flags.MAYBE and inline is None and (not rest or _is_option(rest[0])):
        return True
    text = inline if inline is not None else _take_one(token, rest)
    return _convert(token.partition("=")[0], kind, text)


def _convert(flag: str, kind: int, text: str) -> object:
    try:
        if kind == flags.INT:
            return int(text)
        if kind == flags.SIZE:
            return _parse_size(text)
        if kind == flags.FLOAT:
            return float(text)
    except ValueError:
        word = "float" if kind == flags.FLOAT else "int"
        raise UsageError(f"vllm serve: error: argument {flag}: invalid {word} value: '{text}'") from None
    if kind == flags.JSON:
        return _parse_json(flag, text)
    if flag == "--dtype" and text not in DTYPES:
        choices = ", ".join(f"'{choice}'" for choice in DTYPES)
        raise UsageError(
            f"vllm serve: error: argument {flag}: invalid choice: '{text}' (choose from {choices})"
        )
    return text


def _parse_size(text: str) -> int:
    return int(float(text[:-1]) * SUFFIXES[text[-1]]) if text[-1:] in SUFFIXES else int(text)


def _parse_json(flag: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise UsageError(
            f"vllm serve: error: argument {flag}: Value {text} cannot be converted to <function loads>. "
            f"({fault})"
        ) from None


def _set_inside(options: dict[str, object], name: str, path: list[str], text: str) -> None:
    """``--compilation-config.cudagraph_mode X``: one key inside a JSON option."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    inner = options.get(name)
    place = options[name] = inner if isinstance(inner, dict) else {}
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
