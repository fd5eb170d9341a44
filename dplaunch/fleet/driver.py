"""The interface between walks and the substrate on which processes run.

A driver carries out what a walk decides. No call raises because one node is lost: the node is then in
``unreached``, with its reason, and absent from the result. All calls are made from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Protocol

from dplaunch.errors import DplaunchError, HostError
from dplaunch.model.check import Finding
from dplaunch.model.cluster import SecretRef
from dplaunch.model.observed import Observed
from dplaunch.model.plan import File, Place, Plan, Process
from dplaunch.model.remote import (
    Connected,
    ExecResult,
    FileSeen,
    Hello,
    HttpReply,
    HttpRequest,
    Listening,
    LogQuery,
    LogSource,
    Pattern,
    Signal,
    StartResult,
    StopVerdict,
    Stream,
    SurveyReply,
)
from dplaunch.model.trail import Entry

OnSignal = Callable[[Signal], None]


class Driver(Protocol):
    """What every walk needs."""

    unreached: dict[str, HostError]
    """Nodes that could not be reached, or were lost since, with the reason."""
    on_interrupt: Callable[[], bool]
    """Asked at each Ctrl-C: True continues, False raises Interrupted."""
    on_tick: Callable[[float], None]
    """Given the time about ten times a second while ``listen`` waits."""

    @property
    def reached(self) -> Collection[str]:
        """Nodes that can be asked now."""

    def clock(self) -> float:
        """The launcher's monotonic clock, seconds."""

    def prepare(self, report: Callable[[str], None]) -> None:
        """Make the nodes that the driver itself makes, where they are not there. Raises DplaunchError.

        ``report``: given a sentence about what is waited for.
        """

    def examine(self) -> tuple[Finding, ...]:
        """What is right and wrong with the substrate itself, beside its nodes."""

    def open(self, nodes: Iterable[str] | None = None) -> None:
        """Reach every node (or ``nodes``) at once; nodes that are reached already stay reached."""

    def interrupt(self, *_: object) -> None:
        """Note a Ctrl-C; fit to be a signal handler."""

    def unheard(self) -> AbstractContextManager[None]:
        """A block in which Ctrl-C raises at once, for example while the user is asked."""

    def listen(self, take: OnSignal, until: Callable[[], bool], deadline: float) -> bool:
        """Deliver signals until ``until()`` holds or the clock passes ``deadline``; whether it held."""

    def pause(self, seconds: float) -> None:
        """Wait; signals that come meanwhile are dropped."""

    def observe(self, *, health: bool = False, search: bool = False) -> Observed:
        """What runs on every node; ``health``: ask every endpoint too.

        ``search``: look also for processes of the cluster whose state was lost.
        """

    def put(self, plan: Plan, nodes: Collection[str]) -> dict[str, DplaunchError]:
        """Write the files of these nodes and their part of the plan; node → why that failed."""

    def write(self, files: Mapping[str, File]) -> dict[str, DplaunchError]:
        """Write one file on each of these nodes; node → why that failed."""

    def read_all(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, tuple[FileSeen, ...]]:
        """Files of several nodes' folders, by node; a node that does not reply is left out."""

    def read(self, node: str, path: str) -> FileSeen:
        """A file of the node's folder. Raises DplaunchError."""

    def swap(self, node: str, file: File, seen: FileSeen) -> bool:
        """Write ``file`` unless it was changed since ``seen``; whether it did so. Raises DplaunchError."""

    def start(
        self,
        plan: Plan,
        places: Collection[Place],
        secrets: Mapping[SecretRef, str],
        beside: Mapping[Place, float] = MappingProxyType({}),
    ) -> tuple[StartResult, ...]:
        """Start these processes; a result for each, also where its node is lost.

        ``beside``: those that take over from the one that runs, which then has so many seconds to finish.
        """

    def stop(
        self, places: Iterable[Place], grace: float, take: Callable[[StopVerdict], None], *, patient: bool
    ) -> tuple[StopVerdict, ...]:
        """Stop these at once and wait for every verdict, each given to ``take`` as it comes.

        ``grace``: the seconds that their stop steps wait in all; ``patient``: they wait as planned, else
        this grace overrides their steps. A node that is lost gives no verdicts.
        """

    def hurry(self, places: Iterable[Place]) -> None:
        """Skip the grace of a stop under way."""

    def forget(self) -> dict[str, DplaunchError]:
        """Drop the state of everything that has ended; node → why it keeps it: something may live there."""

    def watch(
        self,
        node: str,
        processes: Sequence[Process],
        patterns: Sequence[Pattern],
        headers: Mapping[str, str],
    ) -> Stream | None:
        """LineSeen, HealthSeen and ProcessExited of these from now on; None when the node is lost."""

    def follow(self, node: str, sources: Sequence[LogSource], query: LogQuery) -> Stream | None:
        """LinesRead, LinesLost and LogRestarted, then StreamEnded; None when the node is lost."""

    def cancel(self, stream: Stream) -> None:
        """End a stream."""

    def ask(self, questions: Iterable[HttpRequest]) -> dict[str, HttpReply]:
        """HTTP requests, each made on its own node, all at once; by key."""

    def locked(self, holder: str, verb: str) -> AbstractContextManager[None]:
        """Hold the cluster's lock on every node that is reached. Raises LockedError naming who holds it."""

    def lock_node(self) -> str:
        """The node that keeps the trail. Raises HostError where no node is reached."""

    def record(self, entry: Entry) -> None:
        """Add an entry to the audit trail."""

    def trail(self, count: int) -> tuple[Entry, ...]:
        """Its last entries, oldest first."""

    def hello(self, node: str) -> Hello:
        """What a reached node reported about itself when its session began."""

    def ahead(self) -> dict[str, float]:
        """Node → seconds by which its clock is ahead of the median of all that are reached."""


class Machines(Driver, Protocol):
    """What a driver also offers where nodes are machines: surveys, commands and connections."""

    def reopen(self, nodes: Collection[str], *, outside: bool) -> None:
        """End the sessions of these nodes and begin new ones: in their containers, or ``outside``."""

    def execute(self, nodes: Collection[str], argv: Sequence[str], timeout: float) -> tuple[ExecResult, ...]:
        """Run a command on these nodes at once; a result for each, in the plan's order."""

    def execute_each(self, wanted: Mapping[str, Sequence[str]], timeout: float) -> tuple[ExecResult, ...]:
        """Run on each of these nodes its own command, all at once; a result for each, in the plan's order."""

    def survey(
        self,
        surveys: Mapping[str, Mapping[str, object]],
        patience: float,
        progress: Callable[[str, int, int], None],
    ) -> dict[str, SurveyReply]:
        """Run surveys; ``progress`` is given node, commands answered, commands in all."""

    def survey_aside(
        self, surveys: Mapping[str, Mapping[str, object]], take: Callable[[str, SurveyReply | None], None]
    ) -> None:
        """The same without waiting: ``take`` is given each reply while something else is awaited."""

    def listening(
        self, wanted: Mapping[str, tuple[str, Sequence[int]]], random: int, seconds: float
    ) -> AbstractContextManager[dict[str, Listening | DplaunchError]]:
        """Open ports (node → address, ports) for as long as the block runs."""

    def connect(
        self, targets: Mapping[str, Sequence[tuple[str, str, int]]], timeout: float, patience: float
    ) -> tuple[Connected, ...]:
        """Try connections from each node to (key, address, port)."""
