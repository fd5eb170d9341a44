"""One real completion on every endpoint, and the judgement of its text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus

from dplaunch.fleet.job import Job, authorization
from dplaunch.model.event import Failed, Proved
from dplaunch.model.plan import Endpoint
from dplaunch.model.proof import Answer
from dplaunch.model.remote import HttpReply, HttpRequest

PROMPT = "The capital of France is Paris and the capital of Italy is"
KNOWN = "Rome"
"""How the prompt continues where weights and KV are intact."""
CAPITALS = (
    "Spain Madrid, Portugal Lisbon, Austria Vienna, Greece Athens, Norway Oslo, Sweden Stockholm, "
    "Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Hungary Budapest, Ireland Dublin, "
    "Belgium Brussels, Romania Bucharest, Bulgaria Sofia, Croatia Zagreb, Egypt Cairo, Kenya Nairobi, "
    "Japan Tokyo, China Beijing, India Delhi, Peru Lima, Chile Santiago, Cuba Havana, Canada Ottawa"
)
COMPLETION_TIMEOUT = 120.0
"""Seconds; the first request of a fresh engine may compile."""


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
    answers = {name: weigh(answer, known=known) for name, answer in first.items()}
    doubtful = [e for e in endpoints if answers[e.name].wrong != first[e.name].wrong]
    for name, again in ask_alone(job, doubtful).items():
        answers[name] = replace(weigh(again, known=known), first=answers[name].wrong)
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


def ask_alone(job: Job, endpoints: Sequence[Endpoint]) -> dict[str, Answer]:
    """One completion on each endpoint, without a KV transfer; by name."""
    replies = job.driver.ask(completion(job, endpoint) for endpoint in endpoints)
    return {endpoint.name: read(replies.get(endpoint.name)) for endpoint in endpoints}


def completion(job: Job, endpoint: Endpoint, key: str = "", **fields: object) -> HttpRequest:
    """A completion asked of one endpoint, under its name or ``key``; ``fields`` over those of the body."""
    body = {
        "model": job.plan.served_model_name,
        "prompt": PROMPT,
        "max_tokens": 8,
        "temperature": 0,
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
    text = read_text(reply.body) if reply and not wrong else ""
    wrong = wrong or judge_text(text)
    return Answer(seconds=reply.seconds if reply else 0.0, text="" if wrong else text, wrong=wrong)


def knows(answers: Iterable[Answer]) -> bool:
    """Whether one of them has the word, so that this model knows the answer; random weights do not."""
    return any(KNOWN in answer.text for answer in answers)


def weigh(answer: Answer, *, known: bool) -> Answer:
    """``answer``, judged wrong if the model knows the answer and this one lacks it."""
    if not known or answer.wrong or KNOWN in answer.text:
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
    if len(letters) >= 4 and len(set(letters)) == 1:  # noqa: PLR2004 - "!!!!" is what broken KV looks like
        return f"answered 200 with garbage: {text!r}"
    return ""


def read_text(body: str) -> str:
    """The text of a completion, whole or streamed; empty when the body is not a completion."""
    if not body.startswith("data:"):
        return _text(body)
    pieces = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
    # a stream that was cut off has no end mark, and does not count as an answer
    return "".join(map(_text, pieces[:-1])) if pieces[-1] == "[DONE]" else ""


def _text(body: str) -> str:
    try:
        text = json.loads(body)["choices"][0]["text"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def failure(job: Job, process: str, node: str, wrong: str) -> Failed:
    """The failure of a process or an endpoint."""
    return Failed(
        at=job.now,
        process=process,
        node=node,
        text=f"{process} on {node} {wrong}",
        hint=f"dplaunch logs {process} -n 50",
    )
