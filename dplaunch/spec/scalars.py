"""Plain scalars of YAML as values, and those that two YAML readers read in two ways."""

from __future__ import annotations

import re
from typing import NamedTuple

Scalar = str | int | float | bool | None


class Surprise(NamedTuple):
    """A scalar that is refused: why, and what to write instead."""

    text: str
    hint: str


_TRUTH = re.compile(r"(?i)yes|no|on|off")
_CLOCK = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")
_ENDLESS = re.compile(r"(?i)[-+]?\.inf|\.nan")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"str", "timestamp", "value"})


def short(tag: str) -> str:
    """A tag as it is written: ``!!int``."""
    return tag.replace(_TAG, "!!")


def surprise(written: str, tag: str) -> Surprise | None:
    """Why an unquoted scalar is ambiguous; ``None`` when every reader agrees."""
    kind = tag.removeprefix(_TAG)
    quoted = f'"{written}" in quotes'
    if kind == "bool" and _TRUTH.fullmatch(written):
        return Surprise(
            f"{written} is text to some YAML readers and true or false to others",
            f"write true or false, or {quoted} for the text",
        )
    if kind in {"int", "float"} and _CLOCK.fullmatch(written):
        return Surprise(
            f"{written} is a number in base 60 to YAML",
            f"write a duration as 1h30m, or {quoted} for the text",
        )
    if _OCTAL.fullmatch(written):
        return Surprise(
            f"{written} is octal to some YAML readers and decimal to others",
            f"write it without the leading zero, or {quoted} for the text",
        )
    if kind == "str" and _EXPONENT.fullmatch(written):
        return Surprise(
            f"{written} is text to some YAML readers and a number to others",
            f"write it with a point and a sign, as 1.0e-5, or {quoted} for the text",
        )
    if kind == "float" and _ENDLESS.fullmatch(written):
        return Surprise(
            f"{written} is not a number a flag can take", f"write a number, or {quoted} for the text"
        )
    return None


def value(written: str, tag: str) -> Scalar:
    """The value of a scalar. Raises ``ValueError`` for tags that are not plain YAML or do not fit."""
    kind = tag.removeprefix(_TAG)
    if kind in _TEXT_TAGS:
        return written
    if kind == "null":
        return None
    if kind == "bool":
        return written.lower() == "true"
    if kind in {"int", "float"}:
        return _number(written.replace("_", ""), kind)
    raise ValueError(tag)


def _number(digits: str, kind: str) -> Scalar:
    if _CLOCK.fullmatch(digits):
        return digits  # already reported as a surprise: any value will do
    if kind == "float":
        return float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return int(digits, 10 if _OCTAL.fullmatch(digits) else 0)
