"""What a shell script gives its engine: words of ``vllm serve`` and variables, as far as reading tells.

A script is never run. Variables are followed to the positional arguments (``$4``) or literals they hold;
anything else (command substitutions, variables from elsewhere) stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct, field

_HERE_DOCUMENT = re.compile(r"(<<-?\s*(['\"]?)(\w+)\2[^\n]*\n)(.*?)(\n\s*\3[ \t]*(?=\n|$))", re.DOTALL)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(?:\+?)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*|\d)(?:\[@\])?(?:(:?[-=])([^}]*))?\}|([A-Za-z_]\w*|\d))")
_ENDS = ";&|\n"
_DEEPEST = 8
_BLIND = re.compile(r"\$@|\$\*|\$\{@|(?:^|[\s;])(?:shift|getopts|eval|set\s+--)(?=[\s;]|$)", re.MULTILINE)


class Word(NamedTuple):
    """One word of a command, without quotes; ``$`` within single quotes is marked as literal."""

    text: str
    line: int
    quoted: bool = False
    """Some of it stands in quotes: the shell does not split what its variables hold."""


class Command(NamedTuple):
    """A command, or a list ``NAME=(…)``: its words, the list's name, and what ends it (``|``, ``&&``)."""

    words: list[Word]
    listed: str
    end: str


class Given(NamedTuple):
    """A flag, or a variable, with the value that it is given; ``value`` is None for a bare flag."""

    name: str
    value: str | None
    line: int


LITERAL_DOLLAR = "\x00"


class Script(Struct):
    """What was read. ``blind``: its arguments are used in ways that reading cannot follow."""

    uses_arguments: bool = True

    commands: list[list[Word]] = field(default_factory=list)
    variables: dict[str, list[Word]] = field(default_factory=dict)
    lists: dict[str, list[Word]] = field(default_factory=dict)
    blind: bool = False

    def expand(self, text: str, depth: int = 0) -> str:
        """The text with the script's own variables put in, as far as each has one value."""
        if depth > _DEEPEST:
            return text

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[4]
            if name.isdigit():
                return f"${name}"
            held = {word.text for word in self.variables.get(name, ())}
            return self.expand(held.pop(), depth + 1) if len(held) == 1 else match[0]

        return _VARIABLE.sub(value, text)

    def serves(self) -> Iterator[list[Word]]:
        """Every command that starts an engine: its words after ``serve``, lists put in."""
        for command in self.commands:
            start = _start(command)
            if start:
                words = [word for item in command[start:] for word in self._listed(item)]
                yield [Word(self.expand(word.text), word.line) for word in words]

    def _listed(self, word: Word) -> list[Word]:
        match = re.fullmatch(r"\$\{(\w+)\[@\]\}", word.text)
        return self.lists.get(match[1], [word]) if match else [word]

    def environment(self) -> dict[str, Given]:
        """Every variable with its last value."""
        last = {name: words[-1] for name, words in self.variables.items()}
        return {name: Given(name, self.expand(word.text), word.line) for name, word in last.items()}


def _start(command: list[Word]) -> int:
    """Where the words of an engine begin; 0 where the command starts none."""
    for index, word in enumerate(command):
        before = command[index - 1].text if index else ""
        if (word.text == "serve" and before.endswith("vllm")) or word.text.startswith("vllm.entrypoints."):
            return index + 1
    return 0


def flags(words: list[Word]) -> list[Given]:
    """The flags among the words of a command; one without a value has None."""
    found: list[Given] = []
    for word, following in zip(words, [*words[1:], Word("-", 0)], strict=True):
        if re.match("--?[a-zA-Z]", word.text):
            name, equals, value = word.text.lstrip("-").partition("=")
            bare = following.text.startswith("-") and not re.match(r"-\d", following.text)
            given = value if equals else None if bare else following.text
            found.append(Given(name.replace("_", "-"), given, word.line))
    return found


def model(words: list[Word]) -> Word | None:
    """The model that a command names first, or with ``--model``."""
    named = next((flag for flag in flags(words) if flag.name == "model" and flag.value), None)
    if named:
        return Word(named.value or "", named.line)
    return words[0] if words and not words[0].text.startswith("-") else None


def read(text: str) -> Script:
    """Read a script."""
    code = re.sub(r"(?m)^\s*#.*$", "", _without_documents(text))
    script = Script(bool(re.search(r"\$\{?[1-9]", code)), blind=bool(_BLIND.search(code)))
    for command, listed, _ in commands(text):
        if listed:
            script.lists[listed] = command
            continue
        script.commands.append(command)
        for word in command:
            match = _ASSIGNED.fullmatch(word.text)
            if match:
                script.variables.setdefault(match[1], []).append(Word(match[2], word.line))
            elif word.text not in ("export", "readonly", "local", "declare", "env", "-x"):
                break
    return script


def commands(text: str) -> Iterator[Command]:
    """Every command of a script in its order, as it is written."""
    return _Reader(_without_documents(text)).commands()


def _without_documents(text: str) -> str:
    """The text without carriage returns, and with here-documents empty; lines keep their numbers."""
    return _HERE_DOCUMENT.sub(lambda m: m[1] + "\n" * m[4].count("\n") + m[5], text.replace("\r", ""))


class _Reader:
    """Splits text into commands and words as the shell does."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._word: list[str] = []
        self._begun = 0
        self._in_quotes = False
        self._words: list[Word] = []

    def commands(self) -> Iterator[Command]:
        """Every command; of a list in brackets also its name."""
        listed = ""
        while self._at < len(self._text):
            char = self._take()
            if char == "#" and not self._begun:
                self._comment()
            elif char == "(" and "".join(self._word).endswith("="):
                listed, self._word, self._begun, self._words = "".join(self._word)[:-1].rstrip("+"), [], 0, []
            elif (listed and char == ")") or (not listed and char in _ENDS and not self._redirects(char)):
                self._close()
                if self._words:
                    double = char in "&|" and self._text.startswith(char, self._at)
                    yield Command(self._words, listed, char * 2 if double else char)
                listed, self._words = "", []
            elif char.isspace() or (char in "()" and not self._begun):
                self._close()
            else:
                self._add(char)
        self._close()
        if self._words:
            yield Command(self._words, listed, "\n")

    def _redirects(self, char: str) -> bool:
        """Whether an ampersand is part of ``2>&1`` or ``&>``."""
        before = self._text[self._at - 2 : self._at - 1]
        return char == "&" and (before == ">" or self._text.startswith(">", self._at))

    def _take(self) -> str:
        char = self._text[self._at]
        self._at += 1
        self._line += char == "\n"
        return char

    def _comment(self) -> None:
        while self._at < len(self._text) and self._text[self._at] != "\n":
            self._at += 1

    def _add(self, char: str) -> None:
        self._begun = self._begun or self._line
        if char == "\\":
            following = self._take() if self._at < len(self._text) else ""
            if following == "\n":
                self._begun = self._begun if self._word else 0
            else:
                self._word.append(LITERAL_DOLLAR if following == "$" else following)
        elif char in "'\"":
            self._quoted(char)
        elif char == "$" and self._text.startswith("(", self._at):
            self._substituted()
        else:
            self._word.append(char)

    def _quoted(self, quote: str) -> None:
        self._in_quotes = True
        self._end_name()
        while self._at < len(self._text) and (char := self._take()) != quote:
            if char == "\\" and quote == '"' and self._at < len(self._text):
                following = self._take()
                keep = "" if following in '"\\`\n' else "\\"
                char = LITERAL_DOLLAR if following == "$" else keep + following.replace("\n", "")
            elif char == "$" and quote == "'":
                char = LITERAL_DOLLAR
            self._word.append(char)
        self._word.append("")
        self._end_name()

    def _end_name(self) -> None:
        """Where quotes end a variable's name, and a letter follows: in braces, as the quotes are left out."""
        if re.match(r"\w", self._text[self._at : self._at + 1]):
            word = "".join(self._word)
            self._word = [re.sub(r"\$([A-Za-z_]\w*)$", r"${\1}", word)]

    def _substituted(self) -> None:
        """``$(…)`` and ``$((…))`` as they are written."""
        self._word.append("$")
        depth = 0
        while self._at < len(self._text):
            char = self._take()
            self._word.append(char)
            depth += (char == "(") - (char == ")")
            if not depth:
                return

    def _close(self) -> None:
        if self._begun:
            self._words.append(Word("".join(self._word), self._begun, self._in_quotes))
        self._word, self._begun, self._in_quotes = [], 0, False
