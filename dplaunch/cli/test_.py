"""``dplaunch test``: known answers through every pair of engines and the router."""

from __future__ import annotations

from typing import Annotated

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode

Everything = Annotated[
    bool,
    option("--all", help="Test every pair (default: a sample of 64 pairs that includes every engine)."),
]


def test_(call: Invocation, everything: Everything = False) -> ExitCode:  # noqa: PT028 - a verb, not a test
    """Test every prefill × decode pair and the router of a running cluster with a known answer."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Warnings, at_work, interruptible
    from dplaunch.fleet.proof.pairs import examine
    from dplaunch.fleet.standing import look
    from dplaunch.view import pairs as drawing

    cluster = open_cluster(call)
    with at_work(cluster.plan, Warnings(call), base=cluster.path.parent) as job:
        interruptible(job)
        proof = examine(job, everything=everything)
        cause = None if proof.passed else look(job)[1].cause
    human = drawing.render(cluster.plan.title, proof, cause, verbose=call.screen.verbose)
    call.screen.present(human, drawing.to_json(proof, cause))
    return ExitCode.DONE if proof.passed else ExitCode.FAILED
