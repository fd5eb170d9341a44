"""A verb at work on its cluster: a job whose events go to the screen."""

from __future__ import annotations

import getpass
import os
import signal
import socket
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec.structs import replace

from dplaunch import progress
from dplaunch.cli.verb import Invocation
from dplaunch.fleet.guards import Address, GuardedMachines, NodeSession, open_session
from dplaunch.fleet.job import Job
from dplaunch.model.event import Event, NodeFailed, Note
from dplaunch.model.plan import NodePlan, Plan
from dplaunch.transport import Options, connect
from dplaunch.view.display import Display
from dplaunch.workspace import read_secrets


@contextmanager
def watching(call: Invocation, plan: Plan, only: Container[str] | None = None) -> Iterator[Display]:
    """The display of a walk, removed at its end."""
    display = Display(call.screen, progress.begin(plan, only), progress.apply)
    with closing(display):
        yield display


@contextmanager
def at_work(plan: Plan, display: Display | Warnings, *, base: Path | None = None) -> Iterator[Job]:
    """A job whose driver has not reached any node yet.

    ``base``: secrets are read; their files are named from there.
    """
    options = Options()
    driver = _driver(plan, options)
    driver.on_tick = display.tick
    secrets = {} if base is None else read_secrets(plan, os.environ, base)
    before = signal.getsignal(signal.SIGINT)
    try:
        with closing(driver):
            yield Job(plan, driver, display.handle, operator(), secrets)
    finally:
        signal.signal(signal.SIGINT, before)
        options.shared.close()


def _driver(plan: Plan, options: Options) -> GuardedMachines:
    """The driver that the cluster file names: machines, or pods that stand for them."""

    def enter(node: NodePlan) -> NodeSession:
        return open_session(node, lambda n: connect(n, options=options), address(plan))

    if plan.deployment is not None:
        from dplaunch.fleet.kubernetes import Deployed

        return Deployed(plan, plan.deployment, enter)
    if plan.kubernetes is None:
        return GuardedMachines(plan.nodes, enter)
    from dplaunch.fleet.kubernetes import Client, Pods

    outside = replace(plan.nodes[0], name="kubectl", host=plan.kubernetes.host, pod=None)
    client = Client(plan.kubernetes.kubectl, lambda: connect(outside, options=options))
    return Pods(plan, plan.kubernetes, enter, client)


class Warnings:
    """Prints lost nodes and notes as warnings, for verbs that print a result and no progress."""

    def __init__(self, call: Invocation) -> None:
        self._screen = call.screen

    def handle(self, event: Event) -> None:
        """Print a lost node or a note; ignore other events."""
        if isinstance(event, (NodeFailed, Note)):
            self._screen.warn(event.text)

    def tick(self, at: float) -> None:
        """Nothing to redraw."""


def interruptible(job: Job) -> None:
    """From here on the driver's loop handles Ctrl-C."""
    signal.signal(signal.SIGINT, job.driver.interrupt)


def address(plan: Plan) -> Address:
    """Where nodes keep the state. A rehearsal has its own, apart from a cluster of the same name."""
    return Address(f"{plan.cluster}.rehearsal" if plan.local else plan.cluster)


def operator() -> str:
    """user@host, for lock and audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
