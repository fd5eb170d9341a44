"""``dplaunch logs TARGET…``: what engines said, merged; followed; collected into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dplaunch.cli.targets import complete_target
from dplaunch.cli.verb import Call
from dplaunch.errors import ExitCode

if TYPE_CHECKING:
    pass

Targets = Annotated[
    list[str],
    typer.Argument(
        help="decode-3, decode, decode-[0-15], node:n5, router, all",
        show_default=False,
        autocompletion=complete_target,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]
Lines = Annotated[int, typer.Option("--lines", "-n", help="Last lines of each process; 0 is all.")]
Since = Annotated[str | None, typer.Option("--since", help="Only what is younger: 10m, 90s.")]
Grep = Annotated[str | None, typer.Option("--grep", help="Only lines that match this regular expression.")]
Previous = Annotated[bool, typer.Option("--previous", help="Of the run before this one.")]
Times = Annotated[bool, typer.Option("--timestamps", "-t", help="Put the time of arrival before each line.")]
Collect = Annotated[
    Path | None, typer.Option("--collect", metavar="DIR", help="Write whole logs to files here.")
]


def logs(
    call: Call,
    targets: Targets,
    follow: Follow = False,
    lines: Lines = 100,
    since: Since = None,
    grep: Grep = None,
    previous: Previous = False,
    timestamps: Times = False,
    collect: Collect = None,
) -> ExitCode:
    """Show or follow what engines and router wrote; equal lines of many ranks are folded."""
    from dplaunch.cli.work import at_work, interruptible, open_cluster
    from dplaunch.fleet.follow import LogQuery
    from dplaunch.fleet.targets import find
    from dplaunch.spec import expand, seconds

    cluster = open_cluster(call)
    chosen = find(targets, cluster.plan, expand)
    tail = None if lines == 0 or since or collect else lines
    query = LogQuery(tail, seconds(since) if since else None, grep, previous, follow)
    with at_work(cluster.plan) as job:
        job.fleet.open({p.node for p in chosen})
        interruptible(job)
        work = _Reading(call, job, chosen, query)
        return work.collect(collect) if collect is not None else work.show(timestamps)
