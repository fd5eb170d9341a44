"""``dplaunch check``: every node, looked at before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, worst

AllPairs = Annotated[
    bool, option("--all-pairs", help="Let every NPU ping every other NPU (default: its neighbour).")
]
Table = Annotated[
    Path | None,
    option("--ranktable", metavar="FILE", help="Compare this rank table too, and ping all pairs it names."),
]
Sha256 = Annotated[bool, option("--sha256", help="Compare weights by content (default: by name and size).")]
Save = Annotated[
    bool, option("--save", help="Save the findings, so that later checks and `up` report what changed.")
]
Fix = Annotated[
    bool, option("--fix", help="Print the commands that would repair the faults, and run none of them.")
]
Html = Annotated[Path | None, option("--html", help="Also write a report of all findings to this file.")]


def check(  # noqa: PLR0913 - the flags that operators need, one line each
    call: Invocation,
    all_pairs: AllPairs = False,
    ranktable: Table = None,
    sha256: Sha256 = False,
    save: Save = False,
    fix: Fix = False,
    html: Html = None,
) -> ExitCode:
    """Check devices, network, versions, weights and ports of every node. Change nothing."""
    from datetime import date

    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.ranktable import read_devices
    from dplaunch.cli.work import at_work, watching
    from dplaunch.preflight import CheckOptions
    from dplaunch.preflight import check as walk
    from dplaunch.view import check as drawing
    from dplaunch.workspace import write_by_rename

    cluster = open_cluster(call)
    today = date.today().isoformat() if save else ""  # noqa: DTZ011 - the operator's day
    weights = "sha256" if sha256 else ""
    table = () if ranktable is None else read_devices(call, cluster, ranktable)
    options = CheckOptions(all_pairs=all_pairs, weights=weights, table=table, save=today)
    with watching(call, cluster.plan, only=()) as display, at_work(cluster.plan, display) as job:
        checked = walk(job, cluster.spec, options)
        unreached = bool(job.driver.unreached)
    human = (
        drawing.render_fixes(checked)
        if fix
        else drawing.render(cluster.plan, checked, verbose=call.screen.verbose)
    )
    call.screen.present(human, drawing.to_json(cluster.plan, checked))
    if html is not None:
        write_by_rename(html, drawing.page(cluster.plan, checked))
        call.screen.say(f"report written to {html}")
    return worst(
        ExitCode.UNREACHABLE if unreached else ExitCode.DONE,
        ExitCode.FAILED if checked.failed else ExitCode.DONE,
    )
