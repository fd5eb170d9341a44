"""Whose failure a pair's is: what was just started must not pay for what it was paired with."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from dplaunch.fleet.job import Job
from dplaunch.fleet.proof.completion import QUICK, ask_alone
from dplaunch.fleet.proof.odd_one_out import find_odd_one
from dplaunch.fleet.proof.routes import describe_pairs
from dplaunch.model.proof import Pair, Proof


def excuse_others(job: Job, proof: Proof, mine: Collection[str]) -> Proof:
    """``proof`` without the pairs that failed because of an engine outside of ``mine``: they become a note.

    An engine outside is at fault where it no longer answers alone, or where the engines of ``mine`` in that
    pair answer through others.
    """
    partners = {name for pair, _ in proof.failed for name in pair.engines if name not in mine}
    if not partners:
        return proof
    asked = [endpoint for endpoint in job.plan.endpoints if endpoint.name in partners]
    silent = {name for name, answer in ask_alone(job, asked, timeout=QUICK).items() if answer.wrong}
    good = {name for pair, _ in proof.good for name in pair.engines}

    def is_excused(pair: Pair) -> bool:
        others, ours = set(pair.engines) - set(mine), set(pair.engines) & set(mine)
        return bool(others & silent) or (bool(others) and ours <= good)

    excused = [(pair, answer) for pair, answer in proof.failed if is_excused(pair)]
    if not excused:
        return proof
    left = tuple(one for one in proof.pairs if one not in excused)
    failed = [pair for pair, answer in left if answer.wrong]
    pairs = describe_pairs(pair for pair, _ in excused)
    note = f"{pairs} {excused[0][1].wrong}; what was started here answers, so it keeps running"
    return replace(
        proof,
        pairs=left,
        odd_one_out=find_odd_one(failed, [pair for pair, answer in left if not answer.wrong]),
        notes=(*proof.notes, note),
    )
