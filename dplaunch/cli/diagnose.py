"""``dplaunch diagnose [TARGET…]``: which of all logs says first why it failed, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dplaunch.cli.targets import complete_target
from dplaunch.cli.verb import Call, option
from dplaunch.errors import ExitCode, UsageError, worst

if TYPE_CHECKING:
    from dplaunch.model.diagnosis import Diagnosis
    from dplaunch.model.remote import LogQuery

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TARGET]...",
        help="decode-3, decode, decode-[0-15], node:n5, router; nothing: all.",
        show_default=False,
        autocompletion=complete_target,
    ),
]
From = Annotated[
    Path | None, option("--from", metavar="DIR", help="Read collected logs here; no cluster is needed.")
]
Lines = Annotated[int, option("--lines", "-n", help="Last lines of each log; 0 is all.")]
Since = Annotated[str | None, option("--since", help="Only what is younger: 10m, 90s.")]
Previous = Annotated[bool, option("--previous", help="Of the run before this one.")]


def diagnose(
    call: Call,
    targets: Targets = None,
    folder: From = None,
    lines: Lines = 20_000,
    since: Since = None,
    previous: Previous = False,
) -> ExitCode:
    """Find the line that says why it failed among all logs; 1 when something failed."""
    from dplaunch import durations
    from dplaunch.model.remote import LogQuery

    if folder is not None:
        if targets or since:
            raise UsageError(
                "--from reads every log of its folder whole: it takes no targets and no --since",
                hint="leave them out, or give a folder that holds the logs you mean",
            )
        return _tell(call, _read_folder(folder, previous=previous))
    tail = None if lines == 0 or since else lines
    query = LogQuery(tail=tail, since=durations.parse(since) if since else None, previous=previous)
    return _read_cluster(call, targets or ["all"], query)


def _tell(call: Call, found: Diagnosis) -> ExitCode:
    from dplaunch.view import diagnosis as drawing

    human = drawing.drawn(found, verbose=call.screen.verbose > 0)
    call.screen.present(human, drawing.to_json(found))
    return ExitCode.FAILED if found.failed else ExitCode.DONE


def _read_folder(folder: Path, *, previous: bool) -> Diagnosis:
    from dplaunch.diagnose import Evidence
    from dplaunch.workspace.collected import collected

    evidence = Evidence()
    for log in collected(folder, previous=previous):
        with log.lines() as lines:
            evidence.add(log.process, log.node, lines)
    return evidence.conclude()


def _read_cluster(call: Call, targets: list[str], query: LogQuery) -> ExitCode:
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Teller, at_work, interruptible
    from dplaunch.fleet.logs.cause import diagnose as walk
    from dplaunch.fleet.targets import find

    cluster = open_cluster(call)
    chosen = find(targets, cluster.plan)
    with at_work(cluster.plan, Teller(call)) as job:
        job.driver.open({process.node for process in chosen})
        interruptible(job)
        for error in job.driver.unreached.values():
            call.screen.warn(error.text)
        found, refusals = walk(job, chosen, query)
        unreached = bool(job.driver.unreached)
    for refusal in refusals:
        call.screen.warn(refusal)
    return worst(_tell(call, found), ExitCode.UNREACHABLE if unreached else ExitCode.DONE)
