"""Words of a shell script with their parameters put in, as far as a script's own text says what they hold."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from dplaunch.engines.script.reading import LITERAL_DOLLAR, Word

_PARAMETER = re.compile(
    r"\$(?:\{(?P<braced>[A-Za-z_]\w*|\d+|[@*#])(?:\[[@*]\])?(?:(?P<rule>:?[-=+?])(?P<other>[^{}]*))?\}"
    r"|(?P<plain>[A-Za-z_]\w*|\d|[@*#]))"
)
_LIST = re.compile(r"\$\{(\w+)\[[@*]\]\}")
_NAME = re.compile(r"[A-Za-z_]\w*")
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)\}")
_SEQUENCE = re.compile(r"\$\(\s*seq\s+(-?\d+)\s+(-?\d+)\s*\)")
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}


class Scope(Struct):
    """Variables, those that are exported, lists and positional arguments of a script while it is read."""

    values: dict[str, str] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    unmet: list[str] = field(default_factory=list)
    """Positional arguments that were asked for and not given."""

    def assign(self, name: str, value: str, *, export: bool = False, more: bool = False) -> None:
        """Give a variable a value; one that is exported stays so. ``more``: ``NAME+=VALUE``."""
        value = self.values.get(name, "") + value if more else value
        self.values[name] = value
        if export or name in self.exported:
            self.exported[name] = value

    def export(self, name: str) -> None:
        """Export a variable that has a value already."""
        if name in self.values:
            self.exported[name] = self.values[name]

    def unset(self, name: str) -> None:
        """Forget a variable."""
        self.values.pop(name, None)
        self.exported.pop(name, None)

    def words(self, word: Word) -> list[str]:
        """The words that one word becomes: several where it is a list, or not in quotes."""
        if word.text in ("$@", "${@}", "$*"):
            return list(self.arguments)
        if (listed := _LIST.fullmatch(word.text)) and listed[1] in self.lists:
            return self.lists[listed[1]]
        text = self.text(word.text)
        return [text] if word.quoted or text == word.text else text.split()

    def text(self, text: str) -> str:
        """The text with what its parameters hold; unknown ones stay as ``${NAME}``, commands as ``$(…)``."""
        parts, at = [], 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            if text.startswith("$(", dollar):
                at = _closing(text, dollar + 1) + 1
                parts.append(self._calculated(text[dollar:at]))
            elif match := _PARAMETER.match(text, dollar):
                at = match.end()
                parts.append(self._held(match))
            else:
                at = dollar + 1
                parts.append("$")
        return "".join((*parts, text[at:]))

    def _held(self, match: re.Match[str]) -> str:
        name, rule, other = match["braced"] or match["plain"], match["rule"], match["other"]
        value = self._value(name)
        empty = value is None or (not value and rule and rule[0] == ":")
        if rule and rule[-1] == "+":
            return "" if empty else self.text(other)
        if rule and rule[-1] in "-=" and empty:
            return self.text(other)
        if value is None:
            return f"${{{name}}}"
        return value

    def _value(self, name: str) -> str | None:
        if name in ("@", "*"):
            return " ".join(self.arguments)
        if name == "#":
            return str(len(self.arguments))
        if name.isdigit():
            index = int(name)
            if index > len(self.arguments):
                self.unmet.append(f"${name}")
            return self.arguments[index - 1] if 0 < index <= len(self.arguments) else ""
        return self.values.get(name)

    def _calculated(self, text: str) -> str:
        """The value of ``$((…))``; anything that only a shell can find out stays as it is."""
        if not text.startswith("$(("):
            return text
        inner = _NAME.sub(lambda found: self.values.get(found[0], found[0]), self.text(text[3:-2]))
        try:
            return str(_calculate(ast.parse(inner.strip(), mode="eval").body))
        except (ValueError, SyntaxError, ZeroDivisionError):
            return text


def items(scope: Scope, words: list[Word]) -> list[str] | None:
    """What ``for NAME in WORDS`` goes through; None where only a shell can find out."""
    found: list[str] = []
    for word in words:
        span = _RANGE.fullmatch(word.text) or _SEQUENCE.fullmatch(scope.text(word.text))
        texts = [str(n) for n in range(int(span[1]), int(span[2]) + 1)] if span else scope.words(word)
        if any("$" in text for text in texts):
            return None
        found += texts
    return found


def literal(text: str) -> str:
    """The text as a program gets it."""
    return text.replace(LITERAL_DOLLAR, "$")


def _closing(text: str, start: int) -> int:
    """Where the bracket at ``start`` is closed; the text's end where it never is."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at
    return len(text) - 1


def _calculate(node: Any) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_calculate(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_calculate(node.left), _calculate(node.right))
    raise ValueError
