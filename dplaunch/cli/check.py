"""``dplaunch check``: what is known about every node before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dplaunch.cli.verb import Call, option
from dplaunch.errors import ExitCode, worst

AllPairs = Annotated[bool, option("--all-pairs", help="Every NPU pings every other, not only its neighbour.")]
Sha256 = Annotated[bool, option("--sha256", help="Compare the weights by content, not by name and size.")]
Save = Annotated[bool, option("--save", help="Keep what was found: later checks and up show what changed.")]
Fix = Annotated[bool, option("--fix", help="Print the commands that would repair it. None of them is run.")]
Html = Annotated[Path | None, option("--html", help="Write a report with all findings to this file.")]


def check(
    call: Call,
    all_pairs: AllPairs = False,
    sha256: Sha256 = False,
    save: Save = False,
    fix: Fix = False,
    html: Html = None,
) -> ExitCode:
    """Look at every node: devices, network, versions, weights, ports. Change nothing."""
    from datetime import date

    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import at_work, watching
    from dplaunch.preflight import CheckOptions
    from dplaunch.preflight import check as walk
    from dplaunch.view import check as drawing
    from dplaunch.workspace import write_by_rename

    cluster = open_cluster(call)
    today = date.today().isoformat() if save else ""  # noqa: DTZ011 - the operator's day
    options = CheckOptions(all_pairs=all_pairs, weights="sha256" if sha256 else "", save=today)
    with watching(call, cluster.plan, only=()) as display, at_work(cluster.plan, display) as job:
        checked = walk(job, cluster.spec, options)
        unreached = bool(job.driver.unreached)
    human = (
        drawing.fixes(checked) if fix else drawing.drawn(cluster.plan, checked, verbose=call.screen.verbose)
    )
    call.screen.present(human, drawing.to_json(cluster.plan, checked))
    if html is not None:
        write_by_rename(html, drawing.page(cluster.plan, checked))
        call.screen.say(f"report written to {html}")
    return worst(
        ExitCode.UNREACHABLE if unreached else ExitCode.DONE,
        ExitCode.FAILED if checked.failed else ExitCode.DONE,
    )
