"""The two streams: results on stdout, everything else on stderr. All printing goes through here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from dplaunch.errors import DplaunchError
from dplaunch.view import errors, style

_PIPE_WIDTH = 10_000
"""A file has no width: tables take what they need, nothing is folded."""


class Screen:
    """What a verb prints. ``json``: results and errors as one JSON document each.

    ``quiet`` drops progress and remarks, never results, errors or a warning that a result is incomplete.
    Warnings about the cluster file are remarks, except where they are the result (``validate``). NO_COLOR,
    FORCE_COLOR, TERM and COLUMNS are looked up in ``environ``.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.out = out
        self.rehearsal: bool | None = None
        """Whether the results are of a rehearsal; None before a cluster file is read."""
        self.make_room: Callable[[], None] = _nothing
        """Removes a live picture before a question is asked."""
        self.data = _console(out, os.environ if environ is None else environ)
        self.talk = _console(err, os.environ if environ is None else environ)

    @property
    def live(self) -> bool:
        """Whether a display may redraw itself: both streams are terminals that can."""
        able = self.data.is_interactive and self.talk.is_interactive
        return able and not self.quiet and not self.json

    @property
    def color(self) -> bool:
        """Whether stdout may be coloured."""
        return self.data.color_system is not None and not self.data.no_color

    # Group: print would glue bare Texts together and forget which of them must not be wrapped

    def present(self, human: RenderableType, machine: Mapping[str, Any]) -> None:
        """A verb's result on stdout, as text or JSON."""
        if self.json:
            self.write(encode(self._label(machine), indent=2))
        else:
            self.data.print(Group(human), crop=False)

    def present_line(self, machine: Mapping[str, Any]) -> None:
        """One of many results, as a line of JSON."""
        self.write(encode(self._label(machine)))

    def _label(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """The document, with ``rehearsal`` where a cluster file was read."""
        return dict(machine) if self.rehearsal is None else {**machine, "rehearsal": self.rehearsal}

    def write(self, text: str) -> None:
        """Text to stdout as it is: scripts, log lines, JSON lines."""
        self.out.write(text)
        self.out.flush()

    def say(self, text: RenderableType) -> None:
        """A remark on stderr; nothing when quiet."""
        if not self.quiet:
            self.talk.print(Group(text), crop=False)

    def warn(self, text: str) -> None:
        """One warning on stderr."""
        line = Text.assemble(("warning: ", style.WARN), style.plain(text))
        self.talk.print(line, soft_wrap=True)

    def fail(self, error: DplaunchError) -> None:
        """An error on stderr; with JSON, on stdout as ``{"error": …}``."""
        if self.json:
            self.write(encode(self._label(errors.to_json(error)), indent=2))
        else:
            brief = error.reported and not self.quiet
            self.talk.print(errors.render(error, self.talk.width, brief=brief), soft_wrap=True)

    def ask(self, question: str, answers: TextIO) -> bool:
        """Ask a yes/no question on stderr and read one line; anything but yes is no."""
        self.make_room()
        self.talk.print(f"{question} [y/N] ", end="", soft_wrap=True)
        return answers.readline().strip().lower() in ("y", "yes")


def encode(value: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON as people read it, on one line without ``indent``; what could control a terminal is escaped."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=separators)
    return style.HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


class _SafeConsole(Console):
    """A console whose own codes reach the terminal, and no others: not those within a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As ``Console.render``; whatever is printed, drawn live or nested in a table passes here."""
        for segment in super().render(renderable, options):
            if segment.control or not style.HIDDEN.search(segment.text):
                yield segment
            else:
                yield Segment(style.HIDDEN.sub("\ufffd", segment.text), segment.style)


def _nothing() -> None:
    """No live picture is in the way."""


def _console(stream: TextIO, environ: Mapping[str, str]) -> Console:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # an ASCII terminal shows ? for ×, and does not crash
    terminal = environ["FORCE_COLOR"] != "" if "FORCE_COLOR" in environ else stream.isatty()
    able = terminal and environ.get("TERM", "").lower() not in ("dumb", "unknown")
    columns = environ.get("COLUMNS", "")
    on_terminal = int(columns) if columns.isdigit() else None  # None: rich asks the terminal
    return _SafeConsole(
        file=stream,
        width=on_terminal if terminal else _PIPE_WIDTH,
        force_terminal=terminal,
        force_interactive=able,
        color_system="standard" if able else None,  # our styles are of the terminal's own colours
        no_color=environ.get("NO_COLOR", "") != "",
        markup=False,
        highlight=False,
        emoji=False,
    )
