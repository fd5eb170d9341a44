"""``dplaunch test``: known answers through every pair of engines and the router."""

from __future__ import annotations

from typing import Annotated

from dplaunch.cli.verb import Call, option
from dplaunch.errors import ExitCode

Everything = Annotated[
    bool,
    option("--all", help="Through every pair, however many; else a sample of 64 in which every engine is."),
]


def test_(call: Call, everything: Everything = False) -> ExitCode:  # noqa: PT028 - a verb, no test
    """Ask a running cluster through every prefill × decode pair; show which route is broken, if one is."""
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.cli.work import Teller, at_work, interruptible
    from dplaunch.fleet.proof.pairs import examine
    from dplaunch.view import pairs as drawing

    cluster = open_cluster(call)
    with at_work(cluster.plan, Teller(call), base=cluster.path.parent) as job:
        interruptible(job)
        proof = examine(job, everything=everything)
    call.screen.present(
        drawing.drawn(cluster.plan.cluster, proof, verbose=call.screen.verbose), drawing.to_json(proof)
    )
    return ExitCode.DONE if proof.holds else ExitCode.FAILED
