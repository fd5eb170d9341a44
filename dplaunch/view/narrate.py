"""Events worth a line, as lines: everything for files and pipes, above a live display only what lasts.

A narrator remembers what it has printed, so that sixty-four ranks that fail for one reason make one block
and one line, and a role is reported once, when all of it has reached a state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

from dplaunch import durations
from dplaunch.model import event as ev
from dplaunch.model.progress import Progress, RoleProgress, Step
from dplaunch.ranges import fold
from dplaunch.view import folding, style
from dplaunch.words import plural

TAIL = 10
"""Lines of a failed process's log printed with the first failure of a kind."""

STAGES_EVERY = 3.0
"""Seconds between two lines about a role's stages: a quick start prints few."""


class Narrator:
    """Turns events into lines to print. ``terse``: a live display shows the rest."""

    def __init__(self, *, terse: bool, verbose: int = 0) -> None:
        self._terse = terse
        self._verbose = verbose
        self._printed: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], list[str]] = {}
        self._hints: set[str] = set()
        self._staged: dict[str, float] = {}
        self._rules: dict[type[ev.Event], Callable[[Any, Progress], Iterator[Text]]] = {
            ev.PhaseBegan: self._phase_began,
            ev.PhaseEnded: self._phase_ended,
            ev.NodeFailed: self._node_failed,
            ev.Failed: self._failed,
            ev.Started: self._started,
            ev.Milestone: self._milestone,
            ev.BecameReady: self._ready,
            ev.Proved: self._proved,
            ev.Stopped: self._stopped,
            ev.Note: self._note,
        }

    def narrate(self, event: ev.Event, progress: Progress) -> tuple[Text, ...]:
        """Lines for one event; most events of many ranks print none."""
        rule = self._rules.get(type(event))
        return tuple(rule(event, progress)) if rule else ()

    def rest(self) -> tuple[Text, ...]:
        """Failures like one that was printed, which were held back: folded."""
        folded = [
            Text.assemble(
                (f"{len(names) - 1} more", style.BAD), f" failed like {names[0]}: {fold(names[1:])}"
            )
            for names in self._failures.values()
            if len(names) > 1
        ]
        self._failures.clear()
        return tuple(folded)

    def _phase_began(self, event: ev.PhaseBegan, _: Progress) -> Iterator[Text]:
        if not self._terse:
            yield Text(f"{event.phase}: {event.detail}" if event.detail else f"{event.phase} …")

    def _phase_ended(self, event: ev.PhaseEnded, progress: Progress) -> Iterator[Text]:
        detail = next((p.detail for p in reversed(progress.phases) if p.name == event.phase), event.detail)
        more = f" ({detail})" if detail and self._terse else ""
        yield Text.assemble(
            (event.phase, style.GOOD), f": done in {durations.describe(event.seconds)}", (more, style.DIM)
        )

    def _node_failed(self, event: ev.NodeFailed, _: Progress) -> Iterator[Text]:
        named = "" if event.node in event.text else f"{event.node}: "
        yield Text.assemble(("UNREACHABLE ", style.BAD), named, style.plain(event.text))
        shape = folding.mask(event.hint)
        if event.hint and shape not in self._hints:
            self._hints.add(shape)
            yield _aside("hint", event.hint)

    def _failed(self, event: ev.Failed, _: Progress) -> Iterator[Text]:
        kind = (_unnamed(event.text, event), _unnamed(event.cause, event))
        same = self._failures.setdefault(kind, [])
        same.append(event.process)
        if len(same) == 1 or self._verbose:
            yield from describe_failure(event, TAIL * (1 + 3 * self._verbose))

    def _started(self, event: ev.Started, progress: Progress) -> Iterator[Text]:
        if self._verbose:
            yield Text(f"{event.process} on {event.node}: started, pid {event.pid}")
        yield from self._whole("started", event.process, progress, lambda role: role.started - role.failed)

    def _milestone(self, event: ev.Milestone, progress: Progress) -> Iterator[Text]:
        units = progress.of(event.process)
        if self._terse or not units:
            return
        role = units[0].role
        slowest = progress.role(role).slowest
        lately = event.at - self._staged.get(role, float("-inf")) < STAGES_EVERY
        if slowest and slowest.stage and not lately and self._once(role, slowest.stage):
            self._staged[role] = event.at
            yield Text(f"{role}: all at `{slowest.stage}` ({slowest.index + 1}/{slowest.count}) or beyond")

    def _ready(self, event: ev.BecameReady, progress: Progress) -> Iterator[Text]:
        if self._verbose:
            yield Text(f"{event.process}: ready after {durations.describe(event.seconds)}")
        yield from self._whole("ready", event.process, progress, lambda role: role.ready)

    def _proved(self, event: ev.Proved, progress: Progress) -> Iterator[Text]:
        if self._verbose:
            took = durations.describe(event.seconds)
            yield Text(f"{event.process}: answered correctly in {took}: {style.plain(event.text)}")
        yield from self._whole("answered correctly", event.process, progress, lambda role: role.proved)

    def _stopped(self, event: ev.Stopped, progress: Progress) -> Iterator[Text]:
        if self._verbose:
            took = durations.describe(event.seconds)
            yield Text(f"{event.process} on {event.node}: stopped ({event.how}) in {took}")
        for left in event.left:
            yield Text.assemble(
                ("left ", style.BAD), f"on {event.node} by {event.process}: {style.plain(left)}"
            )
        yield from self._whole("stopped", event.process, progress, lambda role: role.stopped)

    def _note(self, event: ev.Note, _: Progress) -> Iterator[Text]:
        yield Text(style.plain(event.text))

    def _whole(
        self, word: str, process: str, progress: Progress, count: Callable[[RoleProgress], int]
    ) -> Iterator[Text]:
        """One line when a whole role has reached a state."""
        units = progress.of(process)
        if self._terse or not units:
            return
        role = progress.role(units[0].role)
        if count(role) == role.total and self._once(role.role, word):
            of = "" if role.total == 1 else f"{role.total} of {role.total} "
            yield Text(f"{role.role}: {of}{word}", style.GOOD)

    def _once(self, role: str, word: str) -> bool:
        new = (role, word) not in self._printed
        self._printed.add((role, word))
        return new


def describe_progress(progress: Progress, at: float) -> Text:
    """The progress of every role in one line, for a log without news."""
    roles = [
        ", ".join(
            filter(None, (f"{role.role} {role.ready} of {role.total} ready", describe_slowest(role, at)))
        )
        for role in (() if progress.draining else progress.roles)  # nothing becomes ready meanwhile
    ]
    return Text("; ".join(filter(None, (describe_phase(progress), *roles))))


def describe_phase(progress: Progress) -> str:
    """How far the phase under way is; empty where its name says all.

    ``300 of 1280 answers, n3 has 12 of 160``: with the node that is furthest behind; ``5 requests left on
    decode-[0-1]``.
    """
    if progress.draining:
        return f"{plural(sum(progress.draining.values()), 'request')} left on {fold(progress.draining)}"
    if not progress.surveyed:
        return ""
    done, count = (sum(column) for column in zip(*progress.surveyed.values(), strict=True))
    node, (own, of) = min(progress.surveyed.items(), key=lambda item: item[1][0] / max(1, item[1][1]))
    return f"{done} of {count} answers, {node} has {own} of {of}"


def describe_slowest(role: RoleProgress, at: float) -> str:
    """``slowest decode-17 on n6: load weights 3/7 45 %, for 21 s``."""
    process = role.slowest
    if process is None or process.step is Step.WAITING:
        return ""
    inside = f" {process.fraction:.0%}".replace("%", " %") if process.fraction else ""
    stage = (
        f"{process.stage} {process.index + 1}/{process.count}{inside}"
        if process.stage
        else process.step.value
    )
    return f"slowest {process.name} on {process.node}: {stage}, for {durations.describe(at - process.since)}"


def describe_failure(event: ev.Failed, tail: int = TAIL) -> Iterator[Text]:
    """A failure: what, why, the log's end where it adds something, the path of the log."""
    named = "" if event.process in event.text else f"{event.process} on {event.node}: "
    yield Text.assemble(("FAILED ", style.BAD), named, style.plain(event.text))
    if event.cause:
        yield _aside("cause", event.cause)
    for line in event.tail[-tail:] if not event.cause or tail > TAIL else ():
        yield Text.assemble(("  | ", style.DIM), style.plain(line))
    if event.log:
        yield _aside("log", f"{event.node}:{event.log}")


def count_failures(progress: Progress) -> Text:
    """``3 processes failed: decode-[4-6]``."""
    names = list(dict.fromkeys(event.process for event in progress.failures))
    return Text(f"{plural(len(names), 'process')} failed: {fold(names)}", style.BAD)


def _aside(word: str, text: str) -> Text:
    return Text.assemble((f"  {word + ':':<7}", style.DIM), style.plain(text))


def _unnamed(text: str, event: ev.Failed) -> str:
    return text.replace(event.process, "").replace(event.node, "")
