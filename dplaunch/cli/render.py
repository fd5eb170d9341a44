"""``dplaunch render -O DIR``: the scripts as the documents have them, runnable by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode

if TYPE_CHECKING:
    from dplaunch.model.plan import File, Plan

Folder = Annotated[Path, option("--out", "-O", help="Write to this folder, as NODE/ROLE/SCRIPT.")]


def render(call: Invocation, out: Folder) -> ExitCode:
    """Write every file that `up` would send, one folder per node."""
    from dplaunch.cli.cluster import open_cluster

    cluster = open_cluster(call)
    written = [
        str(_write(out / node.name / f.path, f.text, f.mode))
        for node in cluster.plan.nodes
        for f in (*node.files, *_members(cluster.plan, node.name))
    ]
    call.screen.present("\n".join(written), {"files": written})
    return ExitCode.DONE


def _members(plan: Plan, node: str) -> tuple[File, ...]:
    """The router's members file, on the router's node."""
    router = plan.router_process
    return (plan.members,) if plan.members and router and router.node == node else ()


def _write(path: Path, text: str, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path
