"""What the logs of engines say that neither serve nor fail: told long before time is up."""

from __future__ import annotations

from collections.abc import Iterable

from dplaunch.diagnose import Evidence
from dplaunch.fleet.cause import hint_of
from dplaunch.fleet.clock import ahead
from dplaunch.fleet.job import Job
from dplaunch.fold import fold
from dplaunch.model.event import Note
from dplaunch.model.plan import Process
from dplaunch.words import shortened

PATIENCE = 10.0
"""Seconds that a line may wait for others: an engine that exits says it better, with its failure."""
SHOWN = 160


class Suspects:
    """Hears suspicious lines of processes that load, and tells what explains them best, each line once."""

    def __init__(self, job: Job, processes: Iterable[Process]) -> None:
        self._job = job
        self._evidence = Evidence(ahead(job.fleet))
        for process in processes:
            self._evidence.add(process.name, process.node, ())
        self._since: float | None = None
        """When the first line was heard that ``tell`` has not weighed yet."""
        self._told: set[str] = set()

    def hear(self, process: str, node: str, line: str) -> None:
        """A line of a process that does not serve yet."""
        self._evidence.add(process, node, (line,))
        if self._since is None:
            self._since = self._job.now

    def clear(self, process: str) -> None:
        """It serves."""
        self._evidence.forget(process)

    def tell(self) -> None:
        """A note, when it is due and has something new to say."""
        if self._since is None or self._job.now - self._since < PATIENCE:
            return
        self._since = None
        diagnosis = self._evidence.conclude()
        first = diagnosis.first
        if first is None:
            return
        what = first.signature.id if first.signature else first.text
        if what in self._told:
            return
        self._told.add(what)
        who = (
            f"{fold(first.processes)} goes on"
            if len(first.processes) == 1
            else f"{fold(first.processes)} go on"
        )
        said = shortened(first.text, SHOWN)
        hint = hint_of(first, diagnosis.silent) or f"`dplaunch logs {first.process}` shows more"
        text = f"{who} without serving yet, but on {first.node} the log says: {said}; {hint}"
        self._job.emit(Note(at=self._job.now, text=text))
