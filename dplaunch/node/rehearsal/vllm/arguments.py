"""The command line of ``vllm serve``, parsed as strictly as the engine does."""

from __future__ import annotations

import argparse
import json

from .flags import known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

USAGE = "usage: vllm serve [model_tag] [options]"
DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


class UsageError(Exception):
    """Argparse's answer to a wrong command line: the engine prints it and exits with 2."""


class Arguments:
    """Model and options of one ``vllm serve``; ``options`` maps names without dashes to values."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.model = model
        self.options = options

    def get(self, name: str, default: Any) -> Any:
        """The value of an option, of the type that its flag has; ``default`` when it is not given."""
        return self.options.get(name, default)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"vllm serve: error: {message}")


def parse(argv: list[str], release: tuple[int, ...]) -> Arguments:
    """``argv`` is what follows ``vllm serve``; raises UsageError with argparse's words."""
    given, loose = _make_parser(known(release)).parse_known_args(_gather_keys(argv))
    options = vars(given)
    model = loose.pop(0) if loose and not loose[0].startswith("-") else str(options.get("model", ""))
    if loose:
        raise UsageError(f"vllm: error: unrecognized arguments: {' '.join(loose)}")
    return Arguments(model or "Qwen/Qwen3-0.6B", options)


def _make_parser(flags: dict[str, list[str]]) -> argparse.ArgumentParser:
    """It takes no positional words: ``vllm serve`` takes its model anywhere between the options."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS, formatter_class=_make_formatter)
    for name, (kind, *alias) in flags.items():
        parser.add_argument(f"--{name}", *alias, dest=name, **_ACCEPTED[kind])
        if kind == "flag":
            parser.add_argument(f"--no-{name}", dest=name, action="store_false")
    level = "optimization-level" if "optimization-level" in flags else "compilation-config"
    parser.add_argument("-O", dest=level, type=int, choices=range(4))
    return parser


def _make_formatter(prog: str) -> argparse.HelpFormatter:
    """Of a fixed width: argparse makes one for each flag, and would ask the terminal each time."""
    return argparse.HelpFormatter(prog, width=80)


def _gather_keys(argv: list[str]) -> list[str]:
    """Underscores as dashes; the keys of a JSON option (``--compilation-config.mode X``) as one option."""
    words: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    rest = iter(argv)
    for word in rest:
        head, equals, value = word.partition("=")
        name, *path = head.replace("_", "-").split(".") if word.startswith("--") else [head]
        if path:
            path = head.split(".")[1:]
            _set_inside(tables.setdefault(name, {}), path, value if equals else next(rest, ""))
        else:
            words.append(f"{name}{equals}{value}")
    return words + [f"{name}={json.dumps(table)}" for name, table in tables.items()]


def _set_inside(table: dict[str, Any], path: list[str], text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value


def _parse_size(text: str) -> int:
    try:
        return int(float(text[:-1]) * SUFFIXES[text[-1]]) if text[-1:] in SUFFIXES else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: '{text}'") from None


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as fault:
        why = f"Value {text} cannot be converted to <function loads>. ({fault})"
        raise argparse.ArgumentTypeError(why) from None


_ACCEPTED: dict[str, dict[str, Any]] = {
    "flag": {"action": "store_true"},
    "int": {"type": int},
    "size": {"type": _parse_size},
    "float": {"type": float},
    "word": {},
    "words": {"nargs": "+"},
    "maybe": {"nargs": "?", "const": True},
    "json": {"type": _parse_json},
    "dtype": {"choices": DTYPES},
}
"""A kind of the table → what argparse takes."""
