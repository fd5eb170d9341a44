"""``dplaunch validate``: every problem of a cluster file."""

from __future__ import annotations

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode


def validate(call: Invocation) -> ExitCode:
    """Show every problem of the cluster file with its line. Reach no node."""
    from dplaunch.cli.cluster import load
    from dplaunch.view import problems

    cluster = load(call)
    call.screen.present(
        problems.verdict(cluster.plan, cluster.warnings), problems.verdict_json(cluster.warnings)
    )
    return ExitCode.DONE
