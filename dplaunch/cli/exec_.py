"""``dplaunch exec TARGET -- COMMAND``: a command on nodes, in the environment engines start from."""

from __future__ import annotations

from typing import Annotated

import typer

from dplaunch.cli.verb import Call, option
from dplaunch.errors import ExitCode, Interrupted, worst

Target = Annotated[
    str, typer.Argument(help="node:n1, node:n[1-4], decode-3 (its node), all", show_default=False)
]
Words = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND…", help="The command, as words.", show_default=False)
]
Timeout = Annotated[float, option("--timeout", help="Seconds until the command is ended.")]


def exec_(call: Call, target: Target, command: Words, timeout: Timeout = 60.0) -> ExitCode:
    """Run a command on the nodes of a target, all at once; equal answers are folded."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Teller, at_work, interruptible
    from dplaunch.fleet.targets import nodes_of
    from dplaunch.ranges import fold
    from dplaunch.view import remote as drawing

    cluster = open_cluster(call)
    nodes = nodes_of(target, cluster.plan)
    with at_work(cluster.plan, Teller(call)) as job:
        interruptible(job)
        job.driver.open(nodes)
        try:
            results = job.driver.execute(nodes, command[1:] if command[0] == "--" else command, timeout)
        except Interrupted as error:
            text = f"interrupted; the command is ended on {fold(nodes)}, what it did until now stays"
            raise Interrupted(text) from error
    call.screen.present(drawing.drawn(results), drawing.to_json(results))
    return worst(
        ExitCode.UNREACHABLE if any(r.code is None for r in results) else ExitCode.DONE,
        ExitCode.FAILED if any(r.code for r in results) else ExitCode.DONE,
    )
