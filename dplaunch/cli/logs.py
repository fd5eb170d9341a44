"""``dplaunch logs TARGET…``: what processes logged, merged, followed, or collected into a folder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dplaunch.cli.targets import target_argument
from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, Interrupted, UsageError, worst
from dplaunch.words import plural

if TYPE_CHECKING:
    from dplaunch.fleet.job import Job
    from dplaunch.fleet.logs.follow import Sink
    from dplaunch.model.log import FoldedLine, LogChunk
    from dplaunch.model.plan import Process
    from dplaunch.model.remote import LogQuery

FOLD_WINDOW = 1.0
"""Seconds a line that is followed waits for the same line of other engines."""
AT_ONCE = 64 << 20
"""Bytes of logs that are sorted and folded together: more does not have to fit into memory."""
TAIL = 100

Targets = Annotated[
    list[str],
    target_argument("Read the logs of decode-3, decode, decode-[0-15], node:n5, router or all."),
]
Follow = Annotated[bool, option("--follow", "-f", help="Print new lines as they come, until Ctrl-C.")]
Lines = Annotated[
    int | None,
    option(
        "--lines",
        "--tail",
        "-n",
        help="Print this many last lines of each process; 0 prints all (default: 100).",
    ),
]
Since = Annotated[
    str | None,
    option(
        "--since",
        metavar="DURATION",
        help="Print only lines younger than this, e.g. 10m or 90s (default: any age).",
    ),
]
Grep = Annotated[str | None, option("--grep", help="Print only lines that match this regular expression.")]
Previous = Annotated[
    bool, option("--previous", help="Read the logs of the previous run (default: the current one).")
]
Times = Annotated[
    bool, option("--timestamps", "-t", help="With -f, print the time of arrival before each line.")
]
Raw = Annotated[bool, option("--raw", help="Print every line as it is: nothing folded, nothing left out.")]
Collect = Annotated[
    Path | None, option("--collect", metavar="DIR", help="Write complete logs to files in this folder.")
]


def logs(  # noqa: PLR0913 - the flags that operators need, one line each
    call: Invocation,
    targets: Targets,
    follow: Follow = False,
    lines: Lines = None,
    since: Since = None,
    grep: Grep = None,
    previous: Previous = False,
    timestamps: Times = False,
    raw: Raw = False,
    collect: Collect = None,
) -> ExitCode:
    """Print or follow the logs of engines and router; equal lines of many ranks are folded."""
    from dplaunch import durations
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work, interruptible
    from dplaunch.engines import facts
    from dplaunch.fleet.targets import find
    from dplaunch.model.remote import LogQuery

    if grep is not None:
        check_pattern(grep)
    if timestamps and not follow:
        raise UsageError("-t prints when lines arrive, which is only known with -f", hint="add -f")
    cluster = open_cluster(call, untitled=True)
    chosen = find(targets, cluster.plan)
    tail = lines if lines is not None else None if since or collect else TAIL
    query = LogQuery(
        tail=tail or None,
        since=durations.parse(since) if since else None,
        grep=grep,
        previous=previous,
        follow=follow,
    )
    with at_work(cluster.plan, Warnings(call)) as job:
        job.driver.open({p.node for p in chosen})
        interruptible(job)
        reading = LogReading(call, job, chosen, query)
        if collect is not None:
            code = reading.collect(collect)
        else:
            whole = raw or call.screen.json
            code = reading.show(
                timestamps, chatter=() if whole else facts(cluster.spec.engine.kind).chatter, raw=whole
            )
    return worst(code, ExitCode.UNREACHABLE if job.driver.unreached else ExitCode.DONE)


def check_pattern(text: str) -> None:
    """Raises UsageError unless ``text`` is a regular expression: else every node would refuse it."""
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"--grep {text!r} is not a regular expression: {error}") from error


class LogReading:
    """One reading of the logs of ``chosen``: onto the screen, or into files."""

    def __init__(self, call: Invocation, job: Job, chosen: tuple[Process, ...], query: LogQuery) -> None:
        self._call = call
        self._job = job
        self._chosen = chosen
        self._query = query
        self._chatter: re.Pattern[str] | None = None
        self._left_out = 0
        self._printed = False
        self._sources = [
            (process.name, process.node, file)
            for process in chosen
            for file in ("", *(log.name for log in process.logs))
        ]

    def show(self, timestamps: bool, *, chatter: Sequence[str], raw: bool) -> ExitCode:
        """Print to stdout: past lines sorted by their own times, followed ones as they come.

        ``chatter``: patterns of lines to leave out where several logs are printed. ``raw``: fold nothing.
        """
        from dplaunch.fleet.logs.follow import log_name
        from dplaunch.view.logs import LogPrinter

        names = tuple(log_name(process, file) for process, _, file in self._sources)
        one = len(names) == 1
        wanted = one or raw or self._query.grep or self._call.screen.verbose
        self._chatter = re.compile("|".join(chatter)) if chatter and not wanted else None
        self._printer = LogPrinter(names, color=self._call.screen.color, prefix=not one, times=timestamps)
        fold = not one and not raw
        code = self._follow(fold=fold) if self._query.follow else self._print_past(fold=fold)
        if self._left_out:
            lines = plural(self._left_out, "line")
            self._call.screen.say(f"{lines} of single requests and throughput left out; -v prints them")
        return code

    def _print_past(self, *, fold: bool) -> ExitCode:
        from dplaunch.logs import PAST_WINDOW, fold_past

        chunks: list[LogChunk] = []
        window = PAST_WINDOW if fold else 0.0
        held = 0

        def take(chunk: LogChunk) -> None:
            nonlocal held
            chunks.append(chunk)
            held += chunk.end - chunk.offset
            if held > AT_ONCE:
                self._write(fold_past(chunks, window=window))
                chunks.clear()
                held = 0

        self._read(take)
        self._write(fold_past(chunks, window=window))
        if not self._printed and not self._left_out:
            self._explain_nothing()
        return ExitCode.DONE

    def _explain_nothing(self) -> None:
        if self._query.grep or self._query.since:
            self._call.screen.say("no line matches")
        elif self._query.previous:
            self._call.screen.say("there is no run before the current one")
        else:
            self._call.screen.say(
                "no logs: nothing was started since the last `down`; --previous reads the run before"
            )

    def _follow(self, *, fold: bool) -> ExitCode:
        from dplaunch.logs import Merge

        merge = Merge(window=FOLD_WINDOW if fold else 0.0)
        self._job.driver.on_tick = lambda _: self._write(merge.flush(time.time()))
        try:
            self._read(lambda chunk: self._write(merge.feed(chunk, time.time())), merge.restarted)
        except Interrupted:
            # Ctrl-C is how following ends; the engines do not notice.
            self._write(merge.flush())
            return ExitCode.INTERRUPTED
        self._write(merge.flush())
        return ExitCode.DONE

    def collect(self, folder: Path) -> ExitCode:
        """Write whole logs into ``folder``, one file per log."""
        from dplaunch.fleet.logs.follow import log_name
        from dplaunch.logs import name_log_file

        written: dict[str, Path] = {}
        for process, node, file in self._sources:
            name = log_name(process, file)
            path = folder / name_log_file(node, name, previous=self._query.previous)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
            written[name] = path
        self._read(lambda chunk: _append(written[chunk.process], chunk))
        files = [str(path) for path in written.values()]
        self._call.screen.present("\n".join(files), {"files": files})
        return ExitCode.DONE

    def _read(self, sink: Sink, restarted: Callable[[str], None] = lambda _: None) -> None:
        from dplaunch.fleet.logs.follow import Following

        for error in self._job.driver.unreached.values():
            self._call.screen.warn(error.text)
        following = Following(self._job, self._sources, self._query, sink)
        following.on_restart = restarted
        following.run()
        for refusal in following.refusals:
            self._call.screen.warn(refusal)

    def _write(self, lines: Iterable[FoldedLine]) -> None:
        from dplaunch.view.logs import to_json

        for folded in lines:
            if self._chatter is not None and self._chatter.search(folded.text):
                self._left_out += len(folded.lines)
                continue
            self._printed = True
            if self._call.screen.json:
                for line in folded.lines:
                    self._call.screen.present_line(to_json(line))
            else:
                self._call.screen.write(self._printer.line(folded))


def _append(path: Path, chunk: LogChunk) -> None:
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{line}\n" for line in chunk.lines)
