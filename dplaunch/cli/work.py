"""A verb at work on its cluster: a job, with the screen listening."""

from __future__ import annotations

import getpass
import os
import signal
import socket
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dplaunch import progress
from dplaunch.cli.verb import Call
from dplaunch.fleet.guards import Address, GuardedMachines, open_session
from dplaunch.fleet.job import Job
from dplaunch.model.event import Event, NodeFailed, Note
from dplaunch.model.plan import Plan
from dplaunch.transport import Options, connect
from dplaunch.view.display import Display
from dplaunch.workspace import read_secrets


@contextmanager
def watching(call: Call, plan: Plan, only: Container[str] | None = None) -> Iterator[Display]:
    """The display of a walk, removed at its end."""
    display = Display(call.screen, progress.begin(plan, only), progress.apply)
    with closing(display):
        yield display


@contextmanager
def at_work(plan: Plan, display: Display | Teller, *, base: Path | None = None) -> Iterator[Job]:
    """A job whose driver has not reached any node yet.

    ``base``: secrets are read; their files are named from there.
    """
    options = Options()
    driver = GuardedMachines(
        plan.nodes, lambda node: open_session(node, lambda n: connect(n, options=options), address(plan))
    )
    driver.on_tick = display.tick
    secrets = {} if base is None else read_secrets(plan, os.environ, base)
    before = signal.getsignal(signal.SIGINT)
    try:
        with closing(driver):
            yield Job(plan, driver, display.handle, operator(), secrets)
    finally:
        signal.signal(signal.SIGINT, before)
        options.shared.close()


class Teller:
    """Listens where a verb has a result and no picture: only what goes wrong is said."""

    def __init__(self, call: Call) -> None:
        self._screen = call.screen

    def handle(self, event: Event) -> None:
        """Nodes that are lost and notes are told, nothing else."""
        if isinstance(event, (NodeFailed, Note)):
            self._screen.warn(event.text)

    def tick(self, at: float) -> None:
        """Time is of no interest."""


def interruptible(job: Job) -> None:
    """From here on Ctrl-C is decided in the driver's loop."""
    signal.signal(signal.SIGINT, job.driver.interrupt)


def address(plan: Plan) -> Address:
    """A rehearsal has state of its own: it never meets the production cluster of the same name."""
    return Address(f"{plan.cluster}.rehearsal" if plan.local else plan.cluster)


def operator() -> str:
    """user@host, for lock and audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
