"""``dplaunch exec TARGET -- COMMAND``: a command on nodes, in the environment in which engines start."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, Interrupted, worst

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="Run it on node:n1, node:n[1-4], the node of decode-3, or all.",
        show_default=False,
    ),
]
Words = Annotated[
    list[str],
    typer.Argument(metavar="-- COMMAND…", help="Run this command, given as words.", show_default=False),
]
Timeout = Annotated[float, option("--timeout", help="End the command after this many seconds.")]


def exec_(call: Invocation, target: Target, command: Words, timeout: Timeout = 60.0) -> ExitCode:
    """Run a command on the nodes of a target at once, and fold equal output."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work, interruptible
    from dplaunch.fleet.targets import nodes_of
    from dplaunch.ranges import fold
    from dplaunch.view import remote as drawing

    cluster = open_cluster(call, untitled=True)
    nodes = nodes_of(target, cluster.plan)
    with at_work(cluster.plan, Warnings(call)) as job:
        interruptible(job)
        job.driver.open(nodes)
        try:
            results = job.driver.execute(nodes, command[1:] if command[0] == "--" else command, timeout)
        except Interrupted as error:
            text = f"interrupted; the command was ended on {fold(nodes)}, and what it did before remains"
            raise Interrupted(text) from error
    call.screen.present(drawing.render(results), drawing.to_json(results))
    return worst(
        ExitCode.UNREACHABLE if any(r.code is None for r in results) else ExitCode.DONE,
        ExitCode.FAILED if any(r.code for r in results) else ExitCode.DONE,
    )
