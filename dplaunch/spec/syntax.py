"""Translate a YAML parser's error into what is wrong in the file and how to fix it."""

from __future__ import annotations

import re

import yaml

from dplaunch.errors import Problem

MOST_OPENINGS = 15_000
"""Openings of nested values a file may have: the parser recurses, and would end the process."""

_NO_COLON = "could not find expected ':'"
_GLUED = re.compile(r"\s*(?:- )?([\w.-]+):(\S.*)")
_MEANINGS = (
    (
        "another document",
        "a second document begins here; a cluster file is one",
        "remove the --- or split the file",
    ),
    (
        "mapping values are not allowed",
        "a ':' stands where no key can",
        "put text that holds ': ' in quotes, or look at the indentation",
    ),
    (
        "cannot start any token",
        "a value cannot begin with this character",
        "put the value in quotes",
    ),
    ("',' or '}'", "a { is not closed", "look for a missing } or comma"),
    ("',' or ']'", "a [ is not closed", "look for a missing ] or comma"),
    (_NO_COLON, "a key has no ':'", "write key: value"),
    ("unexpected end of stream", "a quote is not closed", "look for a missing quote"),
    (
        "undefined alias",
        "this alias names nothing",
        "define it above with &name, or put the * in quotes",
    ),
    ("node content", "a value is missing here", "look for a bracket that is not closed, or a comma too many"),
    ("duplicate anchor", "this anchor's name is already used", "give it another name"),
    (
        "expected <block end>",
        "this does not fit what stands around it",
        "align it with its neighbours; nothing may follow a closing quote",
    ),
    (
        "did not find expected key",
        "this does not fit what stands around it",
        "align it with its neighbours; nothing may follow a closing quote",
    ),
)


def unreadable(text: str, file: str, lines: tuple[str, ...]) -> Problem | None:
    """Why not even to try to read a text; ``None`` when it can be tried."""
    if sum(text.count(opening) for opening in ("[", "{", "- ", "? ")) > MOST_OPENINGS:
        return Problem("brackets or dashes open too many lists for a cluster file", file=file)
    for number, line in enumerate(lines, 1):
        found = yaml.reader.Reader.NON_PRINTABLE.search(line)
        if found:
            return Problem(
                f"not YAML: the character U+{ord(found.group()):04X} does not print",
                file=file,
                line=number,
                column=found.start() + 1,
                source_line=line.rstrip(),
                hint="remove it",
            )
    return None


def syntax_problem(error: yaml.YAMLError, file: str, lines: tuple[str, ...]) -> Problem:
    """The one problem of a file that is not YAML, where reading stopped."""
    complaint = " ".join(filter(None, (getattr(error, "context", ""), getattr(error, "problem", ""))))
    line, column = _where(error, complaint, lines)
    source = lines[line - 1].rstrip()
    meaning, hint = _meaning(complaint or str(error), source, source[max(0, column - 2) : column])
    return Problem(f"not YAML: {meaning}", file=file, line=line, column=column, source_line=source, hint=hint)


def _where(error: yaml.YAMLError, complaint: str, lines: tuple[str, ...]) -> tuple[int, int]:
    """Where reading stopped, or began: what was never closed helps more than the end of the file."""
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    end = (last, len(lines[last - 1].rstrip()))
    places = [
        (mark.line + 1, mark.column + 1)
        for mark in (getattr(error, "problem_mark", None), getattr(error, "context_mark", None))
        if mark
    ]
    if _NO_COLON in complaint:
        places.reverse()
    return next((place for place in places if place <= end), end)


def _meaning(complaint: str, source: str, there: str) -> tuple[str, str]:
    indent = source[: len(source) - len(source.lstrip())]
    if "\t" in indent:
        return "a tab indents this line", "indent with spaces"
    if there[1:] == "[" and there[0].isalnum():
        return "inside { } or [ ] a range needs quotes", 'write it as "n[1-4]"'
    glued = _GLUED.match(source)
    if glued and _NO_COLON in complaint:
        return "a space is missing after the ':' of this key", f"write {glued[1]}: {glued[2]}"
    for sign, meaning, hint in _MEANINGS:
        if sign in complaint:
            return meaning, hint
    return complaint, "look at the indentation and the quotes here"


def encoding_hint(error: UnicodeDecodeError) -> str:
    """What to do with a file that is not UTF-8, by what its bytes look like."""
    data = error.object
    for start, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(start):
            return _converted(name)
    try:
        looks_chinese = re.search("[\u4e00-\u9fff]", data.decode("gbk"))
    except UnicodeDecodeError:
        looks_chinese = None
    return _converted("gbk") if looks_chinese else "save it as UTF-8"


def _converted(encoding: str) -> str:
    return f"save it as UTF-8 (it looks like {encoding.upper()}): iconv -f {encoding} -t utf-8 OLD > NEW"
