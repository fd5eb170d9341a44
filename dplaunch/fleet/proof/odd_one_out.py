"""What a proof's answers have in common, and what is said about it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dplaunch.fleet.proof.routes import describe_pairs
from dplaunch.model.plan import Plan
from dplaunch.model.proof import Answer, Moved, Odd, Pair
from dplaunch.ranges import fold
from dplaunch.words import plural

Answers = Mapping[Pair, Answer]


def find_odd_one(failed: Sequence[Pair], good: Sequence[Pair]) -> Odd | None:
    """The one engine, else the one node, that is in every failed pair and in no good one.

    One failed pair alone shows nothing: it is named, and either end may be the cause.
    """
    if len(failed) < 2:  # noqa: PLR2004 - one shows nothing
        return None
    common = set.intersection(*(set(pair.places) for pair in failed))
    common -= {place for pair in good for place in pair.places}
    if len(common) == 1:
        ((engine, node),) = common
        return Odd("engine", engine, node)
    nodes = set.intersection(*(set(pair.nodes) for pair in failed))
    nodes -= {node for pair in good for node in pair.nodes}
    return Odd("node", *nodes, *nodes) if len(nodes) == 1 and not common else None


def explain_odd_one(odd: Odd, plan: Plan) -> str:
    """What the odd one means, with the address whose NIC to look at."""
    address = next((node.address for node in plan.nodes if node.name == odd.node), "")
    if odd.kind == "engine":
        where = f"{odd.name} on {odd.node}"
        return f"{where} is in every failed pair and in no good one: see its log, and the NIC of {address}"
    return f"an engine on {odd.node} is in every failed pair and in no good one: see the NIC of {address}"


def find_notes(answers: Answers, moved: Sequence[Moved]) -> tuple[str, ...]:
    """What is no failure: cold pairs, answers that differ, KV that nobody counts."""
    return (*_cold(answers), *_differing(answers), *_uncounted(moved))


def _cold(answers: Answers) -> Iterator[str]:
    cold = [pair for pair, answer in answers.items() if answer.first and not answer.wrong]
    if cold:
        yield (
            f"the first request failed and the second was answered right: {describe_pairs(cold)} "
            f"({answers[cold[0]].first})"
        )


def _differing(answers: Answers) -> Iterator[str]:
    """Believable answers to all but equal prompts that are not equal: most are held to be right."""
    texts = Counter(answer.text for answer in answers.values() if not answer.wrong)
    if len(texts) < 2:  # noqa: PLR2004 - all are equal
        return
    usual, count = texts.most_common(1)[0]
    others = {pair: a.text for pair, a in answers.items() if not a.wrong and a.text != usual}
    shown = next(iter(others.values()))
    yield (
        f"{describe_pairs(others)} answered {shown!r}, {plural(count, 'pair')} {usual!r}: "
        "believable, but look twice (batching may change an answer, damaged KV too)"
    )


def _uncounted(moved: Sequence[Moved]) -> Iterator[str]:
    silent = [one.engine for one in moved if one.grown is None]
    if silent:
        yield f"that KV moved is not provable on this engine: {fold(silent)} has no counter of it"
