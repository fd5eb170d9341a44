"""Proof: one real completion on every engine; the content is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dplaunch.fleet.ask import probe
from dplaunch.fleet.job import Job, authorization
from dplaunch.model.event import Failed, Note, Proved
from dplaunch.model.plan import Process
from dplaunch.model.proof import Answer

PROMPT = "The capital of France is Paris and the capital of Italy is"
KNOWN = "Rome"
"""What goes on from there, wherever weights and KV are whole."""
CAPITALS = (
    "Spain Madrid, Portugal Lisbon, Austria Vienna, Greece Athens, Norway Oslo, Sweden Stockholm, "
    "Finland Helsinki, Denmark Copenhagen, Poland Warsaw, Hungary Budapest, Ireland Dublin, "
    "Belgium Brussels, Romania Bucharest, Bulgaria Sofia, Croatia Zagreb, Egypt Cairo, Kenya Nairobi, "
    "Japan Tokyo, China Beijing, India Delhi, Peru Lima, Chile Santiago, Cuba Havana, Canada Ottawa"
)
COMPLETION_TIMEOUT = 120.0
"""Seconds; the first request of a fresh engine may compile."""
HTTP_OK = 200


def long_prompt(note: str) -> str:
    """A prompt of more tokens than a block of KV holds (128), which differs early with each ``note``.

    What an engine has cached is not handed over to it.
    """
    facts = " ".join(
        f"The capital of {country} is {capital}."
        for country, capital in (fact.split() for fact in CAPITALS.split(", "))
    )
    return f"What follows is a list of the capitals of countries, number {note}. {facts} {PROMPT}"


def prove_engines(job: Job, engines: Sequence[Process]) -> tuple[Failed, ...]:
    """Ask every engine on its own node, all at once; who says what others do not, once more. The failures."""
    first = ask_alone(job, engines)
    known = knows(first.values())
    answers = {name: weighed(answer, known=known) for name, answer in first.items()}
    odd = [engine for engine in engines if answers[engine.name].wrong != first[engine.name].wrong]
    for name, again in ask_alone(job, odd).items():
        answers[name] = replace(weighed(again, known=known), first=answers[name].wrong)
    failures = tuple(failed(job, e, answers[e.name].wrong) for e in engines if answers[e.name].wrong)
    for name, answer in answers.items():
        _tell_good(job, name, answer)
    for failure in failures:
        job.emit(failure)
    return failures


def _tell_good(job: Job, name: str, answer: Answer) -> None:
    if answer.wrong:
        return
    if answer.first:
        job.emit(Note(at=job.now, text=f"{name} {answer.first} at first; asked again it was right"))
    job.emit(Proved(at=job.now, process=name, seconds=answer.seconds, text=answer.text))


def ask_alone(job: Job, engines: Sequence[Process]) -> dict[str, Answer]:
    """One completion on each engine, nothing handed over to it; by name."""
    replies = probe(job, [(engine.node, completion(job, engine)) for engine in engines], COMPLETION_TIMEOUT)
    return {engine.name: read(replies.get(engine.name)) for engine in engines}


def completion(job: Job, process: Process, **fields: object) -> dict[str, Any]:
    """The probe request of one process; ``fields`` over those of the body."""
    body = {
        "model": job.plan.served_model_name,
        "prompt": PROMPT,
        "max_tokens": 8,
        "temperature": 0,
        **fields,
    }
    return {
        "key": process.name,
        "url": f"{process.endpoints[0].url}/v1/completions",
        "method": "POST",
        "body": json.dumps(body),
        "headers": {"Content-Type": "application/json"} | authorization(job),
        "timeout": COMPLETION_TIMEOUT,
    }


def read(reply: Mapping[str, Any] | None) -> Answer:
    """The reply to ``completion``, judged by itself."""
    text = "" if reply is None or unanswered(reply) else said(reply)
    wrong = unanswered(reply) or judge_text(text)
    return Answer(seconds=reply["seconds"] if reply else 0.0, text="" if wrong else text, wrong=wrong)


def knows(answers: Iterable[Answer]) -> bool:
    """Somebody said it: this model knows the answer. Random weights do not."""
    return any(KNOWN in answer.text for answer in answers)


def weighed(answer: Answer, *, known: bool) -> Answer:
    """Where the model knows the answer, whoever does not say it talks garbage, however well it reads."""
    if not known or answer.wrong or KNOWN in answer.text:
        return answer
    wrong = f"answered 200 with wrong words: {answer.text!r} (others answer {KNOWN!r})"
    return replace(answer, text="", wrong=wrong)


def unanswered(answer: Mapping[str, Any] | None) -> str:
    """Why there is no answer at all; empty when its status is 200, whatever it says."""
    if answer is None:
        return "gave no answer"
    if answer.get("error"):
        return f"did not answer: {answer['error']}"
    if answer["status"] != HTTP_OK:
        return f"answered {answer['status']}: {_reason(answer['body'])[:200]}"
    return ""


def _reason(body: str) -> str:
    """The sentence of an error as the OpenAI API wraps it; else the body as it is."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return body
    return message if isinstance(message, str) else body


def judge_text(text: str) -> str:
    """An empty, unprintable or one-symbol answer is a failure, whatever its status."""
    if not text.strip():
        return "answered 200 with empty text"
    if "\ufffd" in text or not all(c.isprintable() or c.isspace() for c in text):
        return f"answered 200 with unprintable text: {text!r}"
    letters = text.strip()
    if len(letters) >= 4 and len(set(letters)) == 1:  # noqa: PLR2004 - "!!!!" is what broken KV looks like
        return f"answered 200 with garbage: {text!r}"
    return ""


def said(answer: Mapping[str, Any]) -> str:
    """The text of a completion, whole or streamed; empty when the body is none."""
    body = answer["body"]
    if not body.startswith("data:"):
        return _text(body)
    pieces = [line.removeprefix("data:").strip() for line in body.splitlines() if line.startswith("data:")]
    # a stream that was cut off has no end mark: what came of it is no answer
    return "".join(map(_text, pieces[:-1])) if pieces[-1] == "[DONE]" else ""


def _text(body: str) -> str:
    try:
        text = json.loads(body)["choices"][0]["text"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def failed(job: Job, process: Process, wrong: str) -> Failed:
    """A process that did not do what was asked."""
    return Failed(
        at=job.now,
        process=process.name,
        node=process.node,
        text=f"{process.name} on {process.node} {wrong}",
        hint=f"dplaunch logs {process.name} -n 50",
    )
