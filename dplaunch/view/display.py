"""What is on the screen while a walk runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.text import Text

from dplaunch import durations
from dplaunch.model.event import Event
from dplaunch.model.progress import Progress, RoleProgress
from dplaunch.view import style
from dplaunch.view.narrate import (
    Narrator,
    count_failures,
    describe_phase,
    describe_progress,
    describe_slowest,
)
from dplaunch.view.screen import Screen

_FRAME = 0.1
"""Seconds between two pictures."""
_SILENCE = 30.0
"""Seconds without a line after which, without a terminal, a line describes the progress."""
_WIDE = 110
_STOPPING = ("stop", "take down")
"""Phases in which a bar counts what has stopped."""

Fold = Callable[[Progress, Event], Progress]


class Display:
    """Prints events: a live picture on a terminal, else a line for each event that is worth one.

    ``fold`` is ``progress.apply``. Call ``tick`` with the same clock as the events' ``at`` when nothing
    happens, so that times keep counting, and always ``close`` (contextlib.closing).
    """

    def __init__(self, screen: Screen, progress: Progress, fold: Fold) -> None:
        self.progress = progress
        self._screen = screen
        self._fold = fold
        screen.make_room = self.pause
        self._drawn = self._printed = float("-inf")
        self._narrator = Narrator(terse=screen.live, verbose=screen.verbose)
        self._live = _live(screen) if screen.live else None  # opened with the first picture

    def handle(self, event: Event) -> None:
        """Fold one event into the progress, print its lines, redraw."""
        self.progress = self._fold(self.progress, event)
        for line in self._narrator.narrate(event, self.progress):
            self._say(line, event.at)
        self._draw(event.at)

    def tick(self, at: float) -> None:
        """Let time pass without an event."""
        self._draw(at)
        if not self._live and self.progress.phase and at - self._printed >= _SILENCE:
            self._say(describe_progress(self.progress, at), at)

    def pause(self) -> None:
        """Remove the picture; the next event draws a new one below what is written meanwhile."""
        if self._live:
            self._live.stop()
            self._live = _live(self._screen)

    def close(self) -> None:
        """Remove the picture; printed lines stay."""
        if self._live:
            self._live.stop()
            self._live = None
        for line in self._narrator.rest():
            self._say(line, max(self._printed, self.progress.at))

    def _say(self, line: Text, at: float) -> None:
        self._printed = at
        if not self._screen.live:
            since = at - (at if self.progress.began is None else self.progress.began)
            line = Text.assemble((f"{since:7.1f} s  ", style.DIM), line)
        self._screen.say(line)

    def _draw(self, at: float) -> None:
        if self._live and at - self._drawn >= _FRAME:
            self._drawn = at
            self._live.start()
            self._live.update(draw_progress(self.progress, at), refresh=True)


def draw_progress(progress: Progress, at: float) -> RenderableType:
    """The phase under way with its time, and a bar per role."""
    phase = progress.phase
    total = at - (at if progress.began is None else progress.began)
    title = Text.assemble(
        (phase.name if phase else "…", style.HEAD),
        f" {durations.describe(at - phase.began)}" if phase else "",
        (f"  {phase.detail}" if phase and phase.detail else "", style.DIM),
        (f"  {described}" if (described := describe_phase(progress)) else "", style.DIM),
        (
            f"  ({durations.describe(total)} in all)" if phase and total - (at - phase.began) >= 1 else "",
            style.DIM,
        ),
        no_wrap=True,
        overflow="ellipsis",
    )
    parts: list[RenderableType] = [title, *_bars(progress, at)]
    return Group(*parts, count_failures(progress)) if progress.failures else Group(*parts)


def _bars(progress: Progress, at: float) -> list[_Bar]:
    margin = max((len(unit.role) for unit in progress.units.values()), default=0)
    stopping = progress.phase is not None and progress.phase.name in _STOPPING
    return [_Bar(role, at, margin, stopping=stopping) for role in progress.roles]


class _Bar:
    """One role: bar, counts, and what it waits for, on a second line where the terminal is narrow."""

    def __init__(self, role: RoleProgress, at: float, margin: int, *, stopping: bool) -> None:
        self._role = role
        self._margin = margin
        self._done = role.stopped / max(1, role.total) if stopping else role.fraction
        self._counts = f"{role.stopped} of {role.total} stopped" if stopping else _counts(role)
        self._awaited = "" if stopping else describe_slowest(role, at)

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Text]:
        """One line, or two."""
        wide = options.max_width >= _WIDE
        full, empty = ("#", ".") if options.ascii_only else ("━", "╌")
        length = 30 if wide else 20
        filled = int(length * self._done)
        line = Text(f"  {self._role.role:<{self._margin}}  ", no_wrap=True, overflow="ellipsis")
        line.append(full * filled, style.BAD if self._role.failed else style.GOOD)
        line.append(empty * (length - filled), style.DIM)
        line.append(f"  {self._counts}")
        awaited = Text(self._awaited, style.DIM, no_wrap=True, overflow="ellipsis")
        if not awaited:
            yield line
        elif wide:
            yield line.append("   ").append_text(awaited)
        else:
            yield line
            yield Text(" " * (self._margin + 4), no_wrap=True, overflow="ellipsis").append_text(awaited)


def _counts(role: RoleProgress) -> str:
    failed = f", {role.failed} failed" if role.failed else ""
    word, count = ("proved", role.proved) if role.proved else ("ready", role.ready)
    return f"{count} of {role.total} {word}{failed}"


def _live(screen: Screen) -> Live:
    return Live(
        console=screen.talk, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    )
