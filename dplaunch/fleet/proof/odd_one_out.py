"""What the failures of a proof have in common, and notes about its answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dplaunch.fleet.proof.routes import describe_pairs
from dplaunch.model.plan import Plan
from dplaunch.model.proof import Answer, KvGrowth, OddOneOut, Pair
from dplaunch.ranges import fold
from dplaunch.words import plural

Answers = Mapping[Pair, Answer]


def find_odd_one(failed: Sequence[Pair], good: Sequence[Pair]) -> OddOneOut | None:
    """The one engine, else the one node, that is in every failed pair and in no good one.

    One failed pair alone proves nothing: either end may be the cause. Nor does it where nothing passes: what
    all pairs have in common may be well.
    """
    if len(failed) < 2 or not good:  # noqa: PLR2004 - one proves nothing
        return None
    common = set.intersection(*(set(pair.places) for pair in failed))
    common -= {place for pair in good for place in pair.places}
    if len(common) == 1:
        ((engine, node),) = common
        return OddOneOut("engine", engine, node)
    nodes = set.intersection(*(set(pair.nodes) for pair in failed))
    nodes -= {node for pair in good for node in pair.nodes}
    return OddOneOut("node", *nodes, *nodes) if len(nodes) == 1 and not common else None


def explain_odd_one(odd: OddOneOut, plan: Plan) -> str:
    """Where to look for the common cause, with the address of the NIC."""
    address = next((node.address for node in plan.nodes if node.name == odd.node), "")
    if odd.kind == "engine":
        where = f"{odd.name} on {odd.node}"
        return f"{where} is in every failed pair and in no good one: see its log, and the NIC of {address}"
    return f"an engine on {odd.node} is in every failed pair and in no good one: see the NIC of {address}"


def find_notes(answers: Answers, moved: Sequence[KvGrowth]) -> tuple[str, ...]:
    """Remarks that are not failures: cold pairs, answers that differ, KV without a counter."""
    return (*_cold(answers), *_differing(answers), *_uncounted(moved))


def _cold(answers: Answers) -> Iterator[str]:
    cold = [pair for pair, answer in answers.items() if answer.first and not answer.wrong]
    if cold:
        yield (
            f"the first request failed and the second was answered correctly: {describe_pairs(cold)} "
            f"({answers[cold[0]].first})"
        )


def _differing(answers: Answers) -> Iterator[str]:
    """Plausible answers that differ although the prompts hardly do; the usual one counts as correct."""
    texts = Counter(answer.text for answer in answers.values() if not answer.wrong)
    if len(texts) < 2:  # noqa: PLR2004 - all are equal
        return
    usual, count = texts.most_common(1)[0]
    others = {pair: a.text for pair, a in answers.items() if not a.wrong and a.text != usual}
    example = next(iter(others.values()))
    yield (
        f"{describe_pairs(others)} answered {example!r}, {plural(count, 'pair')} {usual!r}: "
        "plausible, but check it (batching may change an answer, and so may damaged KV)"
    )


def _uncounted(moved: Sequence[KvGrowth]) -> Iterator[str]:
    silent = [one.engine for one in moved if one.grown is None]
    if silent:
        yield f"whether KV moved cannot be proved here: {fold(silent)} has no counter for it"
