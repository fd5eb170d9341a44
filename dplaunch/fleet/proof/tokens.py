"""Whether a pair continues a prompt as its prefill engine itself does: token by token, near-ties aside.

For models whose words say nothing, because their weights are random or they were never trained to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from dplaunch.fleet.job import Job
from dplaunch.fleet.proof.completion import (
    LIKELIHOODS,
    NEAR,
    completion,
    judge_reply,
    judge_text,
    long_prompt,
    read_choice,
    read_text,
    read_tokens,
)
from dplaunch.model.plan import Endpoint
from dplaunch.model.proof import Answer, Pair
from dplaunch.model.remote import HttpReply


def compare_tokens(
    job: Job, answers: Mapping[Pair, Answer], stamp: str, endpoints: Iterable[Endpoint]
) -> dict[Pair, Answer]:
    """``answers`` of pairs, judged wrong where prefill alone continues the same prompt with other tokens.

    An answer without token ids, or of an engine that does both, is left as it is.
    """
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    split = [pair for pair, a in answers.items() if len(pair.engines) > 1 and a.tokens and not a.wrong]
    asked = [
        completion(
            job,
            by_name[pair.engines[0]],
            pair.key,
            prompt=long_prompt(f"{stamp} {pair.key}"),
            **LIKELIHOODS,
        )
        for pair in split
    ]
    replies = job.driver.ask(asked)
    return dict(answers) | {pair: _judge(pair, answers[pair], replies.get(pair.key)) for pair in split}


def _judge(pair: Pair, answer: Answer, reply: HttpReply | None) -> Answer:
    prefill = pair.engines[0]
    wrong = judge_reply(reply)
    if reply is None or wrong:
        return replace(answer, wrong=f"{prefill}, asked alone for comparison, {wrong}")
    own = read_tokens(reply.body)
    place = _first_difference(answer.tokens, own)
    if place is None or _is_near_tie(read_choice(reply.body), place, answer.tokens[place], own[place]):
        return answer
    if answer.senseless and not judge_text(read_text(reply.body)):
        return replace(answer, wrong=answer.senseless)
    wrong = f"continued otherwise than {prefill} itself: token {answer.tokens[place]} instead of {own[place]}"
    return replace(answer, wrong=f"{wrong} at place {place + 1} of {len(own)}")


def _first_difference(tokens: Sequence[int], own: Sequence[int]) -> int | None:
    pairs = enumerate(zip(tokens, own))  # noqa: B905 - the shorter one ended first, and is not wrong so far
    return next((place for place, (one, other) in pairs if one != other), None)


def _is_near_tie(choice: Mapping[str, Any], place: int, token: int, own: int) -> bool:
    """Whether ``token`` was nearly as likely as ``own``, by what the engine says of its own choice."""
    try:
        likely = choice["logprobs"]["top_logprobs"][place]
        return bool(likely[f"token_id:{own}"] - likely[f"token_id:{token}"] <= NEAR)
    except (KeyError, IndexError, TypeError):
        return False
