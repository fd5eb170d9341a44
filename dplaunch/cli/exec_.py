"""``dplaunch exec TARGET -- COMMAND``: a command on nodes, in the environment in which engines start."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from dplaunch.cli.targets import target_argument
from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, Interrupted, worst

Target = Annotated[
    str,
    target_argument("Run it on node:n1, node:n[1-4], the node of decode-3, or all."),
]
Words = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND…", help="Run this command, given as words.", show_default=False),
]
Timeout = Annotated[
    float, option("--timeout", metavar="SECONDS", help="End the command after this many seconds.")
]


_EXAMPLE = ", as in: dplaunch exec all -- df -h /data"


class ExecCommand(TyperCommand):
    """Words before ``--`` are dplaunch's; those behind it are the command, even if they look like options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words behind ``--`` as they are, and no other word for a part of the command."""
        asks_for_help = bool(set(args[:2]) & {"-h", "--help"})
        if args and "--" not in args and not asks_for_help and not ctx.resilient_parsing:
            ctx.fail(f"`--` is missing before the command{_EXAMPLE}")
        behind = args[args.index("--") + 1 :] if "--" in args else []
        left = list(super().parse_args(ctx, args))
        if behind and ctx.params["command"] != behind:
            ctx.fail(f"only the target and options of dplaunch stand before `--`{_EXAMPLE}")
        return left

    def collect_usage_pieces(self, _ctx: Any) -> list[str]:
        """The one order in which the words are read."""
        return ["TARGET", "[OPTIONS]", "--", "COMMAND…"]


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
            results = job.driver.execute(nodes, command, timeout)
        except Interrupted as error:
            text = f"interrupted; the command was ended on {fold(nodes)}, and what it did before remains"
            raise Interrupted(text) from error
        lost = set(job.driver.unreached)
    call.screen.present(drawing.render(results), drawing.to_json(results))
    return worst(
        ExitCode.UNREACHABLE if lost else ExitCode.DONE,
        ExitCode.FAILED if any(r.code != 0 for r in results if r.node not in lost) else ExitCode.DONE,
    )
