"""Problems of a cluster file, in the form that compilers use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text

from dplaunch.errors import Problem
from dplaunch.model.plan import Plan
from dplaunch.ranges import grouped, ranges
from dplaunch.view import folding, style
from dplaunch.words import plural

_WORD = re.compile(r"""("[^"]*"|'[^']*'|[^\s:,\[\]{}#]+)""")
_NODE = re.compile(r"(?<=^nodes\.)[^.]+")

MANY = 3
"""So many problems that differ in names and numbers only are printed as one."""


def render(problems: Sequence[Problem], width: int = 10_000) -> Text:
    """Each problem as ``file:line:column: error: text``, its line, a caret, its help; then the count.

    One mistake on many lines is one problem with the names and lines of all.
    """
    parts = [part for like in _fold(problems) for part in (*_problem(like, width), Text(""))]
    return style.lines(*parts, count(problems)) if problems else Text("")


def _fold(problems: Sequence[Problem]) -> list[tuple[Problem, ...]]:
    """Problems of one shape together, from ``MANY`` on; in the order of the first of each."""
    groups: list[tuple[Problem, ...]] = []
    for like in grouped((_shape(problem), problem) for problem in problems).values():
        groups += [tuple(like)] if len(like) >= MANY else [(problem,) for problem in like]
    order = {problem: index for index, problem in enumerate(reversed(problems))}
    return sorted(groups, key=lambda like: -order[like[0]])


def _shape(problem: Problem) -> tuple[object, ...]:
    """Equal for problems of one kind at keys of one kind: their own line's words and numbers do not count."""
    texts = (folding.mask(text, problem.source_line) for text in (problem.text, problem.hint))
    key = folding.mask(_NODE.sub("#", problem.key))
    return (problem.warning, problem.file, problem.source, key, *texts)


def count(problems: Iterable[Problem]) -> Text:
    """``2 errors, 1 warning in cluster.yaml``."""
    problems = tuple(problems)
    wrong = sum(not problem.warning for problem in problems)
    warned = len(problems) - wrong
    counts = [plural(n, noun) for n, noun in ((wrong, "error"), (warned, "warning")) if n]
    files = ", ".join(dict.fromkeys(problem.file for problem in problems if problem.file))
    return Text(", ".join(counts) + (f" in {files}" if files else ""), style.BAD if wrong else style.WARN)


def verdict(plan: Plan, warnings: Sequence[Problem]) -> Text:
    """``validate`` of a good file: its warnings, its engine and its size."""
    where = f"{size(plan)} on {plural(len(plan.nodes), 'node')}"
    good = Text.assemble((f"{plan.title} is valid", style.GOOD), f": {plan.engine}, {where}")
    return style.lines(render(warnings), good) if warnings else good


def size(plan: Plan) -> str:
    """``72 engines``: as many as answer, whatever ranks stand behind each; of a job, ``16 ranks``."""
    if plan.is_job:
        return plural(sum(len(process.seats) for process in plan.processes), "rank")
    return plural(len(plan.endpoints), "engine")


def verdict_json(warnings: Sequence[Problem]) -> dict[str, Any]:
    """``{"valid": true, "problems": [warnings]}``; a bad file is an error instead."""
    return {"valid": True, "problems": [to_json(problem) for problem in warnings]}


def to_json(problem: Problem) -> dict[str, Any]:
    """The stable JSON form of one problem."""
    return {
        "severity": "warning" if problem.warning else "error",
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "text": problem.text,
        "hint": problem.hint,
        "source": problem.source,
    }


def _problem(like: Sequence[Problem], width: int) -> list[Text]:
    """One problem, or several of one shape at the place of the first."""
    first = like[0]
    texts, hints = (folding.join([getattr(each, part) for each in like]) for part in ("text", "hint"))
    problem = replace(first, text=texts, hint=hints) if len(like) > 1 else first
    word, colour = ("warning", style.WARN) if problem.warning else ("error", style.BAD)
    headline = Text.assemble((f"{_place(problem)}", style.HEAD), (f"{word}: ", colour), problem.text)
    margin = len(f"  {problem.line} ") if problem.line else 2
    parts = [
        headline,
        *(_snippet(problem, width - margin - 3, colour) if problem.source_line.strip() else []),
    ]
    if problem.hint:
        parts.append(Text.assemble((f"{'':{margin}}= help: ", style.NAME), problem.hint))
    if problem.source:
        parts.append(Text(f"{'':{margin}}= source: {problem.source}", style.DIM))
    if others := {each.line for each in like} - {first.line}:
        where = f"{len(like)} in all, also in line{'s' if len(others) > 1 else ''} {ranges(others)}"
        parts.append(Text.assemble((f"{'':{margin}}= note: ", style.NAME), where))
    return parts


def _place(problem: Problem) -> str:
    place = [problem.file, *(str(n) for n in (problem.line, problem.column) if n)]
    return ":".join(filter(None, place)) + ": " if any(place) else ""


def _snippet(problem: Problem, width: int, colour: str) -> list[Text]:
    line, column = _window(problem.source_line.rstrip("\n"), problem.column, max(20, width))
    number = f"  {problem.line} "
    snippet = [Text.assemble((f"{number}| ", style.DIM), line)]
    if problem.column:
        before = line[: column - 1]
        pad = "".join("\t" if char == "\t" else " " * cell_len(char) for char in before)
        word = _WORD.match(line, column - 1)
        caret = "^" * max(1, cell_len(word[0]) if word else 1)
        snippet.append(Text.assemble((f"{'':{len(number)}}| ", style.DIM), pad, (caret, colour)))
    return snippet


def _window(line: str, column: int, width: int) -> tuple[str, int]:
    """The part of a long line around the column, and the column in it."""
    if len(line) <= width:
        return line, min(column, len(line) + 1)
    room = width - 2
    start = max(0, min(column - room // 2, len(line) - room))
    head = "…" if start else ""
    tail = "…" if start + room < len(line) else ""
    return f"{head}{line[start : start + room]}{tail}", column - start + len(head)
