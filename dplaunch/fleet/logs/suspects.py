"""Errors in the logs of engines that load: reported long before time is up."""

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
"""Seconds that a line waits for others: if its engine exits meanwhile, the failure reports it better."""
LENGTH = 160
AT_ONCE = 3
"""Lines reported at one time; the others are reported when more lines come."""


class Suspects:
    """Collects suspicious lines of processes that load and reports the best explanation, each line once."""

    def __init__(self, job: Job, processes: Iterable[Process]) -> None:
        self._job = job
        self._evidence = Evidence(job.driver.ahead())
        for process in processes:
            self._evidence.add(process.name, process.node, ())
        self._since: float | None = None
        """When the first line came that ``report`` has not considered yet."""
        self._reported: set[str] = set()
        self.loud: set[str] = set()
        """Processes with at least one such line."""

    def add(self, process: str, node: str, line: str) -> None:
        """A line of a process that does not serve yet."""
        self._evidence.add(process, node, (line,))
        self.loud.add(process)
        if self._since is None:
            self._since = self._job.now

    def clear(self, process: str) -> None:
        """Forget the lines of a process that serves."""
        self._evidence.forget(process)

    def report(self) -> None:
        """Report a note when it is due and contains something new."""
        if self._since is None or self._job.now - self._since < PATIENCE:
            return
        self._since = None
        diagnosis = self._evidence.conclude()
        seen = [s for s in (diagnosis.first, *diagnosis.others) if s and s.kind is not LineKind.WARNING]
        # consequences are reported only where no cause is known
        causes = [s for s in seen if not s.follows] or seen[:1]
        for sighting in [s for s in causes if identify(s) not in self._reported][:AT_ONCE]:
            self._reported.add(identify(sighting))
            self._report_one(sighting, diagnosis.silent)

    def _report_one(self, seen: Sighting, silent: tuple[str, ...]) -> None:
        what = (
            "is still loading, but its log" if len(seen.processes) == 1 else "are still loading, but the log"
        )
        hint = hint_of(seen, silent) or f"`dplaunch logs {seen.process}` shows more"
        text = (
            f"{fold(seen.processes)} {what} on {seen.node} shows an error: "
            f"{shorten(seen.text, LENGTH)}; {hint}"
        )
        self._job.note(text)
