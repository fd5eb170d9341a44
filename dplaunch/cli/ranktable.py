"""``dplaunch ranktable``: HCCL's rank table, made of what devices report, verified, and sent to nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dplaunch.errors import Problem
    from dplaunch.ranktable import NodeDevices
    from dplaunch.workspace import Cluster

Verify = Annotated[
    Path | None,
    option("--verify", metavar="FILE", help="Verify this table instead of making one; no node is contacted."),
]
Save = Annotated[Path | None, option("--save", help="Also write the table to this file.")]
To = Annotated[
    str | None,
    option(
        "--to", metavar="PATH", help="Send the table to this absolute path on every node, with mode 0640."
    ),
]


def ranktable(call: Invocation, verify: Verify = None, save: Save = None, to: To = None) -> ExitCode:
    """Make a rank table from what the nodes' devices report, or verify one; send it to the nodes."""
    import json

    from dplaunch.cli.cluster import open_cluster
    from dplaunch.view import ranktable as drawing
    from dplaunch.workspace import write_by_rename

    if to is not None and not to.startswith("/"):
        raise UsageError(f"--to {to} is not an absolute path", hint="give one, such as /etc/ranktable.json")
    cluster = None if verify and to is None and _has_no_cluster(call) else open_cluster(call)
    warnings: tuple[Problem, ...] = ()
    if verify is not None:
        text, warnings = read_table(cluster, verify)
    elif cluster is not None:
        text = _make(call, cluster)
    if save is not None:
        write_by_rename(save, text)
        save.chmod(0o640)
        call.screen.say(f"saved as {save}")
    sha = _send(call, cluster, text, to) if cluster is not None and to is not None else ""
    if verify is None and not call.screen.json:
        call.screen.write(text)  # byte for byte: it may be redirected into a file
    else:
        human = drawing.verdict(str(verify), warnings, alone=cluster is None)
        call.screen.present(human, drawing.to_json(json.loads(text), warnings, to, sha))
    return ExitCode.DONE


def _has_no_cluster(call: Invocation) -> bool:
    """Whether no cluster file is named or found: a table can be verified by itself."""
    from dplaunch.cli.cluster import memory

    try:
        memory().pick(call.file)
    except UsageError:
        return True
    return False


def read_table(cluster: Cluster | None, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """The text of an existing table and its warnings. Raises SpecError with all its problems."""
    from dplaunch.errors import SpecError
    from dplaunch.preflight.ranktable import find_site
    from dplaunch.ranktable import verify
    from dplaunch.ranktable.verify import judge_file
    from dplaunch.workspace.cluster import read_file

    text = read_file(path, "make one with `dplaunch ranktable --save FILE`", as_it_is=True)
    problems = verify(text, str(path), find_site(cluster.spec) if cluster else None)
    problems += judge_file(str(path), is_link=path.is_symlink(), mode=path.stat().st_mode)
    if any(not problem.warning for problem in problems):
        raise SpecError(problems, "the rank table")
    return text, problems


def read_devices(call: Invocation, cluster: Cluster, path: Path) -> tuple[NodeDevices, ...]:
    """The devices of an existing table; its warnings are printed. Raises SpecError with all its problems."""
    from dplaunch.preflight.ranktable import find_site
    from dplaunch.ranktable import read_nodes

    if cluster.plan.rehearsal:
        raise UsageError("a rehearsal has no devices to compare with a table", hint="leave --rehearse out")
    text, warnings = read_table(cluster, path)
    for warning in warnings:
        call.screen.warn("; ".join(filter(None, (warning.text, warning.hint))))
    return read_nodes(text, find_site(cluster.spec))


def _make(call: Invocation, cluster: Cluster) -> str:
    from dplaunch.cli.work import at_work, watching
    from dplaunch.preflight import ranktable as walk

    with watching(call, cluster.plan, only=()) as display, at_work(cluster.plan, display) as job:
        return walk.make(job, cluster.spec)


def _send(call: Invocation, cluster: Cluster, text: str, path: str) -> str:
    from dplaunch.cli.work import at_work, interruptible, watching
    from dplaunch.errors import Interrupted
    from dplaunch.fleet.deliver import deliver
    from dplaunch.model.plan import File
    from dplaunch.preflight.ranktable import list_nodes
    from dplaunch.ranktable.verify import MODE
    from dplaunch.view import ranktable as drawing

    if cluster.plan.rehearsal:
        raise UsageError("a rehearsal has no nodes to send a table to", hint="leave --rehearse out")
    nodes = [node.name for node in list_nodes(cluster.spec)]
    with watching(call, cluster.plan, only=()) as display, at_work(cluster.plan, display) as job:
        interruptible(job)
        try:
            sha = deliver(job, "ranktable", nodes, File("ranktable.json", text, MODE), path)
        except Interrupted as error:
            text = f"interrupted; some nodes may have the new {path} already: run the command again"
            raise Interrupted(text) from error
    call.screen.say(drawing.sent(path, sha, nodes))
    return sha
