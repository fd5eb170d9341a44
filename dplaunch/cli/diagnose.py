"""``dplaunch diagnose [TARGET…]``: the first cause across all logs, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.targets import target_argument
from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError, worst

if TYPE_CHECKING:
    from dplaunch.model.diagnosis import Diagnosis
    from dplaunch.model.remote import LogQuery

Targets = Annotated[
    list[str] | None,
    target_argument(
        "Read the logs of decode-3, decode, decode-[0-15], node:n5 or router (default: all).",
        metavar="TARGET",
    ),
]
From = Annotated[
    Path | None,
    option("--from", metavar="DIR", help="Read collected logs from this folder or file, without a cluster."),
]
Lines = Annotated[int, option("--lines", "-n", help="Read this many last lines of each log; 0 reads all.")]
Since = Annotated[
    str | None,
    option(
        "--since",
        metavar="DURATION",
        help="Read only lines younger than this, e.g. 10m or 90s (default: any age).",
    ),
]
Previous = Annotated[
    bool, option("--previous", help="Read the logs of the previous run (default: the current one).")
]


def diagnose(
    call: Invocation,
    targets: Targets = None,
    folder: From = None,
    lines: Lines = 20_000,
    since: Since = None,
    previous: Previous = False,
) -> ExitCode:
    """Find the first cause across all logs. Exit 1 if anything failed."""
    from dplaunch import durations
    from dplaunch.model.remote import LogQuery

    if folder is not None:
        if targets or since:
            raise UsageError(
                "--from reads all logs of its folder; it cannot be combined with targets or --since",
                hint="leave them out, or name a folder with only the logs you want",
            )
        return _present(call, _read_folder(folder, previous=previous))
    tail = None if lines == 0 or since else lines
    query = LogQuery(tail=tail, since=durations.parse(since) if since else None, previous=previous)
    return _read_cluster(call, targets or ["all"], query)


def _present(call: Invocation, found: Diagnosis) -> ExitCode:
    from dplaunch.view import diagnosis as drawing

    human = drawing.render(found, verbose=call.screen.verbose > 0)
    call.screen.present(human, drawing.to_json(found))
    return ExitCode.FAILED if found.failed else ExitCode.DONE


def _read_folder(folder: Path, *, previous: bool) -> Diagnosis:
    from dplaunch.diagnose import Evidence
    from dplaunch.workspace.collected import find_logs

    evidence = Evidence()
    for log in find_logs(folder, previous=previous):
        with log.lines() as lines:
            evidence.add(log.process, log.node, lines)
    return evidence.conclude()


def _read_cluster(call: Invocation, targets: list[str], query: LogQuery) -> ExitCode:
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work, interruptible
    from dplaunch.fleet.logs.cause import diagnose as walk
    from dplaunch.fleet.targets import find

    cluster = open_cluster(call, untitled=True)
    chosen = find(targets, cluster.plan)
    with at_work(cluster.plan, Warnings(call)) as job:
        job.driver.open({process.node for process in chosen})
        interruptible(job)
        for error in job.driver.unreached.values():
            call.screen.warn(error.text)
        found, refusals = walk(job, chosen, query)
        unreached = bool(job.driver.unreached)
    for refusal in refusals:
        call.screen.warn(refusal)
    return worst(_present(call, found), ExitCode.UNREACHABLE if unreached else ExitCode.DONE)
