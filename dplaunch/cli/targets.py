"""Targets on the command line, and their completion in the user's shell."""

from __future__ import annotations

from typing import Any

import typer


def target_argument(text: str, *, metavar: str = "TARGET") -> Any:
    """An argument that names processes, nodes or roles; ``text`` is its help."""
    return typer.Argument(
        metavar=metavar,
        help=text,
        show_default=False,
        autocompletion=complete_target,
        callback=_refuse_files,
    )


def _refuse_files(given: Any) -> Any:
    """Return what was given as targets; many verbs take a cluster file there, and these do not."""
    for word in [given] if isinstance(given, str) else given or ():
        if word.endswith((".yaml", ".yml")):
            raise typer.BadParameter(f"{word} looks like a cluster file; give it as `--file {word}`")
    return given


def complete_target(incomplete: str) -> list[str]:
    """Names of the current cluster's processes, roles and nodes that begin with ``incomplete``."""
    from dplaunch.cli.cluster import memory
    from dplaunch.errors import DplaunchError
    from dplaunch.workspace import load_cluster

    try:
        plan = load_cluster(memory().pick(None)).plan
    except DplaunchError:
        return []
    names = ["all", *dict.fromkeys(p.role for p in plan.processes), *(p.name for p in plan.processes)]
    names += [f"node:{node.name}" for node in plan.nodes]
    return [name for name in names if name.startswith(incomplete)]
