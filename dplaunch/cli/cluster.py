"""The cluster a verb is about: found, loaded, planned. Reaches no host."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dplaunch.cli.verb import Call
from dplaunch.workspace import Cluster, Memory, load_cluster


def memory() -> Memory:
    """What this machine remembers."""
    return Memory(os.environ, Path.cwd())


def open_cluster(call: Call) -> Cluster:
    """The cluster file that is meant, loaded and planned; its warnings are shown."""
    cluster = load(call)
    for warning in cluster.warnings:
        call.screen.warn("; ".join(filter(None, (warning.text, warning.hint))))
    return cluster


def load(call: Call) -> Cluster:
    """As ``open_cluster``, its warnings left to the caller."""
    with _without_plugins():
        cluster = load_cluster(memory().pick(call.file), rehearse=call.rehearse)
    gc.freeze()  # what is loaded stays: only what comes after it is looked at
    gc.enable()
    return cluster


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Pydantic looks through every installed package for plugins, a tenth of our start-up; we use none.

    Engines on this machine inherit our environment: it is put back before anything is started.
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
