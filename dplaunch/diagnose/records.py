"""One record of a log: a message, its traceback and the exceptions that the traceback ends in."""

from __future__ import annotations

import re
from typing import NamedTuple

from dplaunch.diagnose.lines import Reading

_FRAME = re.compile(r"\s|Traceback|TraceBack|During handling of|The above exception was|\^+|$")
"""The lines of a traceback except its last: they name the place of an error, not the error."""
_CHAINED = re.compile(r"During handling of|The above exception was")
_CODE_LINE = re.compile(r"    \s*(?P<code>[^\s^~].*)")
_THIN = re.compile(r"(?:KeyError|IndexError|StopIteration|AttributeError|AssertionError)\b")
"""Exceptions that say little: where one was the reason of another, the other is reported."""
_VALIDATION = re.compile(
    r"[\w.]*ValidationError: \d+ validation errors? for \S+|\d+ validation errors? for \S+$"
)
_INVALID = re.compile(
    r"\s+(?:(?:Value error|Assertion failed), )?(?P<text>\S.*?)"
    r"(?: \[type=[\w.]+(?:, input_value=.*)?\]?)?$"
)
_INVALID_MARK = re.compile(r"\s+(?:Value error|Assertion failed), |\s+\S.* \[type=[\w.]+")
"""How pydantic writes each message, below a header that only counts them."""


class Error(NamedTuple):
    """An error that no signature knows. ``replaces``: the sentence of its record that it says better."""

    sentence: str
    replaces: str = ""
    is_coded: bool = False


class Record:
    """Takes the lines of one record and returns the errors among them."""

    def __init__(self, began: int, first: Reading) -> None:
        self.began = began
        """The number of its first line."""
        self.head = first.head
        self.native = first.is_native
        self.logged = bool(first.level) and not first.is_native
        """A logger of Python's wrote it, and the process may run on."""
        self._best = ""
        self._has_exception = False
        self._in_traceback = False
        self._chained = False
        self._validates = False
        self._place = ""
        self._frame = ""

    def note_frame(self, sentence: str) -> None:
        """Take a line that a signature knows: only its place in the traceback counts."""
        self._in_traceback = False
        self._validates = bool(_VALIDATION.match(sentence)) or (self._validates and sentence[:1] == " ")

    def take(self, reading: Reading) -> Error | None:
        """Return the error of this line, if it has one that counts."""
        sentence = reading.sentence
        if self._validates and not reading.is_exception:
            return self._take_validation(sentence)
        self._validates = False
        if _FRAME.match(sentence):
            self._take_frame(sentence)
            return None
        is_exception = self._in_traceback or reading.is_exception
        self._in_traceback = False
        if not (is_exception or reading.is_error):
            return None
        return self._rate(sentence, is_exception=is_exception, is_coded=bool(reading.code))

    def _take_frame(self, sentence: str) -> None:
        self._in_traceback = self._in_traceback or sentence.startswith("Traceback (most recent")
        self._chained = self._chained or bool(_CHAINED.match(sentence))
        code = _CODE_LINE.match(sentence)
        self._frame = code["code"] if code else self._frame

    def _take_validation(self, sentence: str) -> Error | None:
        """Return one of pydantic's messages, with the name of the field that stands above it."""
        if not sentence.strip() or sentence.startswith("    "):
            return None
        if _INVALID_MARK.match(sentence):
            found = _INVALID.match(sentence)
            text = found["text"] if found else sentence.strip()
            return Error(f"{self._place}: {text}" if self._place else text)
        self._place = sentence.strip()
        return None

    def _rate(self, sentence: str, *, is_exception: bool, is_coded: bool) -> Error | None:
        """Return the error. An exception replaces the message above its traceback, and a thin exception."""
        text = sentence.strip()
        if text == "AssertionError" and self._frame:
            text = f"{text}: {self._frame}"
        worse = self._best if is_exception and (not self._has_exception or self._is_thin()) else ""
        if not self._best or worse:
            self._best = text
        self._has_exception = self._has_exception or is_exception
        return Error(text, replaces=worse, is_coded=is_coded)

    def _is_thin(self) -> bool:
        return self._chained and bool(_THIN.match(self._best))
