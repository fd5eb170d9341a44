"""The cluster a verb is about: found, loaded, planned. Reaches no host."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dplaunch.cli.verb import Invocation
from dplaunch.workspace import Cluster, Memory, load_cluster


def memory() -> Memory:
    """What this machine remembers between commands."""
    return Memory(os.environ, Path.cwd())


def open_cluster(call: Invocation, *, untitled: bool = False) -> Cluster:
    """The chosen cluster file, loaded and planned; its warnings are printed unless quiet.

    ``untitled``: what the verb prints does not name the cluster, so a rehearsal is announced here.
    """
    cluster = load(call)
    call.screen.rehearsal = cluster.plan.rehearsal
    if untitled and cluster.plan.rehearsal:
        call.screen.say(f"{cluster.plan.title}: its engines are simulated")
    for warning in () if call.screen.quiet else cluster.warnings:
        call.screen.warn("; ".join(filter(None, (warning.text, warning.hint))))
    return cluster


def say_without_container(call: Invocation, cluster: Cluster) -> None:
    """A rehearsal starts no container, and reaches none: everything runs on this machine itself."""
    if cluster.plan.local and cluster.spec.container:
        call.screen.say("the rehearsal runs on this machine itself, not in the container of the file")


def load(call: Invocation) -> Cluster:
    """The same, but the caller prints the warnings."""
    with _without_plugins():
        cluster = load_cluster(memory().pick(call.file), rehearse=call.rehearse)
    gc.freeze()  # what is loaded stays, so the collector need not look at it again
    gc.enable()
    return cluster


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Skip pydantic's search of every installed package for plugins, a tenth of our start-up; we use none.

    Engines on this machine inherit our environment, so it is restored before anything is started.
    """
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    try:
        yield
    finally:
        del os.environ[_PLUGINS]
        if before is not None:
            os.environ[_PLUGINS] = before


_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
