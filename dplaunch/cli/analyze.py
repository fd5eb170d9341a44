"""``dplaunch analyze``: where start-up time went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dplaunch.cli.targets import target_argument
from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, worst

Targets = Annotated[
    list[str] | None,
    target_argument(
        "Analyze decode-3, decode, decode-[0-15] or node:n5 (default: all engines).", metavar="TARGET"
    ),
]
Html = Annotated[
    Path | None, option("--html", metavar="FILE", help="Also write a report with a chart to this file.")
]


def analyze(call: Invocation, targets: Targets = None, html: Html = None) -> ExitCode:
    """Show where start-up time went, by stage and by rank, and compare it with earlier starts."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.status import exit_code
    from dplaunch.cli.work import Warnings, at_work
    from dplaunch.fleet.job import connect
    from dplaunch.fleet.logs.startup import analyze as walk
    from dplaunch.fleet.targets import find
    from dplaunch.fleet.verdict import summarise
    from dplaunch.view import status as standing
    from dplaunch.view import timeline as drawing
    from dplaunch.workspace import write_by_rename

    cluster = open_cluster(call)
    plan = cluster.plan
    chosen = find(targets or ["all"], plan)
    with at_work(plan, Warnings(call)) as job:
        connect(job)
        observed = job.driver.observe()
        up = walk(job, chosen, observed)
    if not up.timelines:
        summary = summarise(plan, observed)
        call.screen.present(standing.headline(plan, summary), drawing.to_json(plan.cluster, up))
        return worst(ExitCode.FAILED, exit_code(summary))
    human = drawing.render(plan.title, up, verbose=call.screen.verbose)
    call.screen.present(human, drawing.to_json(plan.cluster, up))
    if html is not None:
        from dplaunch.view import gantt

        write_by_rename(html, gantt.report(plan.title, up))
        call.screen.say(f"report written to {html}")
    return ExitCode.UNREACHABLE if job.driver.unreached else ExitCode.DONE
