"""What the logs of engines say that neither serve nor fail: told long before time is up."""

from __future__ import annotations

from collections.abc import Iterable

from dplaunch.diagnose import Evidence, identify
from dplaunch.fleet.job import Job
from dplaunch.fleet.logs.cause import hint_of
from dplaunch.model.diagnosis import LineKind, Sighting
from dplaunch.model.plan import Process
from dplaunch.ranges import fold
from dplaunch.words import shorten

PATIENCE = 10.0
"""Seconds that a line may wait for others: an engine that exits says it better, with its failure."""
SHOWN = 160
AT_ONCE = 3
"""Lines told at one time; what is left is told when more is heard."""


class Suspects:
    """Hears suspicious lines of processes that load, and tells what explains them best, each line once."""

    def __init__(self, job: Job, processes: Iterable[Process]) -> None:
        self._job = job
        self._evidence = Evidence(job.driver.ahead())
        for process in processes:
            self._evidence.add(process.name, process.node, ())
        self._since: float | None = None
        """When the first line was heard that ``tell`` has not weighed yet."""
        self._told: set[str] = set()
        self.loud: set[str] = set()
        """Who was heard at all."""

    def hear(self, process: str, node: str, line: str) -> None:
        """A line of a process that does not serve yet."""
        self._evidence.add(process, node, (line,))
        self.loud.add(process)
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
        seen = [s for s in (diagnosis.first, *diagnosis.others) if s and s.kind is not LineKind.WARNING]
        # what only follows is told where nothing else is known
        telling = [s for s in seen if not s.follows] or seen[:1]
        for sighting in [s for s in telling if identify(s) not in self._told][:AT_ONCE]:
            self._told.add(identify(sighting))
            self._tell_one(sighting, diagnosis.silent)

    def _tell_one(self, seen: Sighting, silent: tuple[str, ...]) -> None:
        what = (
            "is still loading, but its log" if len(seen.processes) == 1 else "are still loading, but the log"
        )
        hint = hint_of(seen, silent) or f"`dplaunch logs {seen.process}` shows more"
        text = (
            f"{fold(seen.processes)} {what} on {seen.node} shows an error: "
            f"{shorten(seen.text, SHOWN)}; {hint}"
        )
        self._job.note(text)
