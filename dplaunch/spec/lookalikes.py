"""Characters of other keyboards that look like YAML's own: ``：``, ``，``, ``“``, the no-break space.

They count where YAML reads structure or unquoted text. Comments, quoted texts and block texts may hold them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from dplaunch.spec.finding import Finding, Place

_TABLE = {
    **dict.fromkeys("“”„‟″〝〞«»「」『』", '"'),
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("、﹑", ","),
    **dict.fromkeys("【〔", "["),
    **dict.fromkeys("】〕", "]"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", " "),
    "∶": ":",
    "。": ".",
    "〜": "~",
}
"""Beyond those that are a form of an ASCII character by Unicode's own tables (NFKC)."""

_BYTE_ORDER_MARK = "\ufeff"
_COMMON = {" ": "space", '"': "quote", "'": "quote", ":": "colon", ",": "comma", "-": "dash"}
_BLOCK = re.compile(r"(?:^|[\s:-])[|>][-+0-9]*\s*(?:#.*)?$")


def as_ascii(char: str) -> str:
    """The ASCII character that ``char`` looks like; ``char`` itself where it looks like none."""
    if char.isascii():
        return char
    plain = _TABLE.get(char) or unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else char


def repair(text: str, lines: tuple[str, ...]) -> tuple[str, tuple[Finding, ...]]:
    """The text as it was meant, line by line, and a finding for each run of such characters."""
    if text.isascii():
        return text, ()
    meant = list(text)
    findings: list[Finding] = []
    end = (0, 0)
    for offset, line, column in _slips(text, lines):
        if text[offset] == _BYTE_ORDER_MARK and not offset:
            continue
        meant[offset] = as_ascii(text[offset])
        if meant[offset] == ":" and not text[offset + 1 : offset + 2].isspace():
            meant[offset] = ": "  # it is as wide as both
        if (line, column) != end:
            findings.append(_finding(text[offset], Place(line, column)))
        end = (line, column + 1)
    return "".join(meant), tuple(findings)


def _finding(char: str, place: Place) -> Finding:
    plain = as_ascii(char)
    kind = unicodedata.name(char, "a sign without a name").lower()
    looks = f"'{char}' ({kind}, U+{ord(char):04X})" if plain != " " else f"U+{ord(char):04X} ({kind})"
    wanted = "a plain space" if plain == " " else plain if plain in "\"'" else f"'{plain}'"
    name = f" {_COMMON[plain]}" if plain in _COMMON and plain != " " else ""
    return Finding(
        (),
        f"this is {looks}, which YAML does not read as a{name or ' ' + wanted.removeprefix('a ')}",
        f"write {wanted}; text that needs this character goes in quotes",
        place=place,
    )


def _slips(text: str, lines: tuple[str, ...]) -> Iterator[tuple[int, int, int]]:
    """Offset, line and column of every such character in structure and unquoted text."""
    offset, quote, block = 0, "", -1
    for number, line in enumerate(lines, 1):
        indent = len(line) - len(line.lstrip(" "))
        if block >= 0 and (not line.strip() or indent > block):
            offset = _after(text, offset + len(line))
            continue
        block = -1
        columns, quote = _outside(line, quote)
        yield from ((offset + column, number, column + 1) for column in columns)
        if not quote and _BLOCK.search(line):
            block = indent
        offset = _after(text, offset + len(line))


def _after(text: str, offset: int) -> int:
    """Where the next line begins."""
    return offset + (2 if text.startswith("\r\n", offset) else 1)


def _outside(line: str, quote: str) -> tuple[list[int], str]:
    """Columns of such characters outside quotes and comments, and the quote that is open at the end."""
    found: list[int] = []
    before, spaced, escaped = "", True, False
    for column, char in enumerate(line):
        if quote:
            closes = char == quote and not escaped
            escaped = quote == '"' and char == "\\" and not escaped
            quote = "" if closes else quote
            before = char
            continue
        if char == "#" and spaced:
            break
        plain = as_ascii(char)
        if char in "\"'" and (before in ",[{" or (spaced and before in ":-?")):
            quote = char
        elif plain != char:
            found.append(column)
        spaced = plain.isspace()
        before = before if spaced else plain
    return found, quote
