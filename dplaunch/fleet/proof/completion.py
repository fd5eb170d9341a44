"""One real completion on every endpoint, and the judgement of its text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from dplaunch.fleet.job import Job, authorization
from dplaunch.model.event import Failed, Proved
from dplaunch.model.plan import Endpoint
from dplaunch.model.proof import Answer
from dplaunch.model.remote import HttpReply, HttpRequest

PROMPT = "The capital of France is Paris and the capital of Italy is"
KNOWN = "Rome"
"""How the prompt continues where weights and KV are intact."""
UNJUDGED = (
    f"no engine knows the answer {KNOWN!r}, as with random weights: the words were not judged, and token ids "
    "are compared instead"
)
REPEATED = 4
"""The same token, or the same letter, so many times is no answer."""
LIKELIHOODS: Mapping[str, Any] = {"logprobs": 2, "return_tokens_as_token_ids": True}
"""Asks for the two likeliest tokens at every place, by their ids."""
NEAR = 0.1
"""Tokens whose logarithmic probabilities are this close may swap places from one batch to the next."""
CAPITALS = (
    "Spain Madrid, Portugal Lisbon, Austria Vienna, Greece Athens, Norway Oslo, Sweden Stockholm, "
    "Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Hungary Budapest, Ireland Dublin, "
    "Belgium Brussels, Romania Bucharest, Bulgaria Sofia, Croatia Zagreb, Egypt Cairo, Kenya Nairobi, "
    "Japan Tokyo, China Beijing, India Delhi, Peru Lima, Chile Santiago, Cuba Havana, Canada Ottawa"
)
COMPLETION_TIMEOUT = 120.0
"""Seconds; the first request of a fresh engine may compile."""
QUICK = 10.0
"""Seconds for an engine that has answered before and only has to show that it still does."""


def long_prompt(note: str) -> str:
    """A prompt of more tokens than a block of KV holds (128), which differs early with each ``note``.

    KV that an engine has cached is not transferred to it.
    """
    facts = " ".join(
        f"The capital of {country} is {capital}."
        for country, capital in (fact.split() for fact in CAPITALS.split(", "))
    )
    return f"What follows is a list of the capitals of countries, number {note}. {facts} {PROMPT}"


def prove_alone(job: Job, endpoints: Sequence[Endpoint]) -> tuple[Failed, ...]:
    """Ask every endpoint on its own node, all at once; one whose answer differs from the others', twice.

    Returns the failures, which are reported.
    """
    first = ask_alone(job, endpoints)
    known = knows(first.values())

    sense = any(not answer.wrong and not answer.senseless for answer in first.values())

    def judge(answer: Answer) -> Answer:
        return weigh(answer, known=known) if known or sense else _weigh_tokens(answer)

    answers = {name: judge(answer) for name, answer in first.items()}
    doubtful = [e for e in endpoints if answers[e.name].wrong != first[e.name].wrong]
    for name, again in ask_alone(job, doubtful, **({} if known else LIKELIHOODS)).items():
        answers[name] = replace(judge(again), first=answers[name].wrong)
    if not known and any(answer.senseless and not answer.wrong for answer in answers.values()):
        job.note(UNJUDGED)
    failures = tuple(
        failure(job, e.name, e.node, answers[e.name].wrong) for e in endpoints if answers[e.name].wrong
    )
    for endpoint in endpoints:
        answer = answers[endpoint.name]
        if answer.first and not answer.wrong:
            job.note(f"{endpoint.name} {answer.first} at first; its second answer was correct")
        if not answer.wrong:
            job.emit(Proved(at=job.now, process=endpoint.name, seconds=answer.seconds, text=answer.text))
    for failed in failures:
        job.emit(failed)
    return failures


def _weigh_tokens(answer: Answer) -> Answer:
    """``answer`` where none makes sense: one token repeated is what broken weights or kernels do.

    It is also what dummy weights do, with which every token is as likely as the next.
    """
    repeats = len(answer.tokens) >= REPEATED and len(set(answer.tokens)) == 1
    if answer.tokens and not (repeats and not answer.flat):
        return answer
    return weigh(answer, known=False)


def ask_alone(
    job: Job, endpoints: Sequence[Endpoint], *, timeout: float = COMPLETION_TIMEOUT, **fields: Any
) -> dict[str, Answer]:
    """One completion on each endpoint that answers by itself, without a KV transfer; by name."""
    able = [endpoint for endpoint in endpoints if endpoint.api.completions]
    replies = job.driver.ask(replace(completion(job, e, **fields), timeout=timeout) for e in able)
    return {endpoint.name: read(replies.get(endpoint.name)) for endpoint in able}


def completion(job: Job, endpoint: Endpoint, key: str = "", **fields: object) -> HttpRequest:
    """A completion asked of one endpoint, under its name or ``key``; ``fields`` over those of the body."""
    body = {
        "model": job.plan.served_model_name,
        "prompt": PROMPT,
        "max_tokens": 8,
        "temperature": 0,
        "return_token_ids": True,
        **fields,
    }
    return HttpRequest(
        key=key or endpoint.name,
        node=endpoint.node,
        url=endpoint.url + endpoint.api.completions,
        method="POST",
        body=json.dumps(body),
        headers={"Content-Type": "application/json"} | authorization(job),
        timeout=COMPLETION_TIMEOUT,
    )


def read(reply: HttpReply | None) -> Answer:
    """The reply to ``completion``, judged by itself."""
    wrong = judge_reply(reply)
    if reply is None or wrong:
        return Answer(seconds=reply.seconds if reply else 0.0, wrong=wrong)
    text = read_text(reply.body)
    return Answer(
        seconds=reply.seconds,
        text=text,
        tokens=read_tokens(reply.body),
        flat=_is_flat(read_choice(reply.body)),
        senseless=judge_text(text),
    )


def knows(answers: Iterable[Answer]) -> bool:
    """Whether one of them has the word, so that this model knows the answer; random weights do not."""
    return any(KNOWN in answer.text for answer in answers)


def weigh(answer: Answer, *, known: bool) -> Answer:
    """``answer``, judged by its words: wrong if it makes no sense or lacks what the model knows."""
    if answer.wrong:
        return answer
    if answer.senseless:
        return replace(answer, wrong=answer.senseless)
    if not known or KNOWN in answer.text:
        return answer
    return replace(answer, wrong=f"answered 200 with wrong words: {answer.text!r} (others answer {KNOWN!r})")


def judge_reply(reply: HttpReply | None) -> str:
    """Why a reply has no answer; empty when it has one."""
    if reply is None:
        return "did not answer: its node was lost"
    if reply.status is None:
        return f"did not answer: {reply.error}"
    if reply.status != HTTPStatus.OK:
        return f"answered {reply.status}: {_reason(reply.body)[:200]}"
    return ""


def _reason(body: str) -> str:
    """The sentence of an error as the OpenAI API wraps it; else the body as it is."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return body
    return message if isinstance(message, str) else body


def judge_text(text: str) -> str:
    """Why a text is wrong: it is empty, unprintable or one repeated symbol; empty when it is fine."""
    if not text.strip():
        return "answered 200 with empty text"
    if "\ufffd" in text or not all(c.isprintable() or c.isspace() for c in text):
        return f"answered 200 with unprintable text: {text!r}"
    letters = text.strip()
    if len(letters) >= REPEATED and len(set(letters)) == 1:  # "!!!!" is what broken KV looks like
        return f"answered 200 with garbage: {text!r}"
    return ""


def read_text(body: str) -> str:
    """The text of a completion, whole or streamed; empty when the body is not a completion."""
    texts = [choice.get("text") for choice in _choices(body)]
    return "".join(text for text in texts if isinstance(text, str))


def read_tokens(body: str) -> tuple[int, ...]:
    """Ids of the generated tokens; empty where the engine does not return them."""
    lists = [choice.get("token_ids") for choice in _choices(body)]
    tokens = [token for some in lists if isinstance(some, list) for token in some]
    return tuple(tokens) if all(isinstance(token, int) for token in tokens) else ()


def _choices(body: str) -> list[dict[str, Any]]:
    """The first choice of a completion, or of each event of a streamed one."""
    if not body.startswith("data:"):
        return [read_choice(body)]
    pieces = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
    # a stream that was cut off has no end mark, and does not count as an answer
    return [read_choice(piece) for piece in pieces[:-1]] if pieces[-1] == "[DONE]" else []


def _is_flat(choice: Mapping[str, Any]) -> bool:
    """Whether the two likeliest tokens are equally likely at every place, where the engine says so."""
    try:
        places = [sorted(likely.values())[-2:] for likely in choice["logprobs"]["top_logprobs"]]
        return bool(places) and all(high - low <= NEAR for low, high in places)
    except (KeyError, ValueError, TypeError, AttributeError):
        return False


def read_choice(body: str) -> dict[str, Any]:
    """The first choice of a completion; empty when the body is none."""
    try:
        choice = json.loads(body)["choices"][0]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return {}
    return choice if isinstance(choice, dict) else {}


def failure(job: Job, process: str, node: str, wrong: str) -> Failed:
    """The failure of a process or an endpoint."""
    return Failed(
        at=job.now,
        process=process,
        node=node,
        text=f"{process} on {node} {wrong}",
        hint=f"dplaunch logs {process} -n 50",
    )
