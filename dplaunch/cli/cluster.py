"""The cluster a verb is about: found, loaded, planned. Reaches no host."""

from __future__ import annotations

import os
from pathlib import Path

from dplaunch.cli.verb import Call
from dplaunch.workspace import Cluster, Memory, load_cluster


def memory() -> Memory:
    """What this machine remembers."""
    return Memory(os.environ, Path.cwd())


def open_cluster(call: Call) -> Cluster:
    """The cluster file that is meant, loaded and planned; its warnings are shown."""
    cluster = load_cluster(memory().pick(call.file), rehearse=call.rehearse)
    for warning in cluster.warnings:
        call.screen.warn(warning.text)
    return cluster
