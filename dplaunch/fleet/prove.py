"""Proof: one real completion on every engine, then one through the router; the content is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from dplaunch.fleet.job import Job, authorization
from dplaunch.model.event import Failed, Note, Proved
from dplaunch.model.plan import Process

PROMPT = "The capital of France is Paris and the capital of Italy is"
COMPLETION_TIMEOUT = 120.0
"""Seconds; the first request of a fresh engine may compile."""


def prove_engines(job: Job, engines: Iterable[Process]) -> tuple[Failed, ...]:
    """Ask every engine on its own node, all at once. Returns the failures."""
    by_node: dict[str, list[Process]] = {}
    for engine in engines:
        by_node.setdefault(engine.node, []).append(engine)
    return _ask(job, by_node)


def prove_router(job: Job, router: Process) -> tuple[Failed, ...]:
    """One completion through the router, prefill and decode included.

    A fresh prefill/decode pair may fail its very first hand-over (facts: router), so one
    failure is reported and asked again; the second answer counts.
    """
    first = _ask(job, {router.node: [router]}, quiet=True)
    if not first:
        return ()
    job.emit(
        Note(at=job.now, text=f"the first request through the router failed, asking again: {first[0].text}")
    )
    return _ask(job, {router.node: [router]})


def _ask(job: Job, by_node: Mapping[str, list[Process]], *, quiet: bool = False) -> tuple[Failed, ...]:
    requests = {
        node: ("probe", {"requests": [completion(job, process) for process in processes]})
        for node, processes in by_node.items()
    }
    replies = job.fleet.gather(requests, COMPLETION_TIMEOUT + 10)
    failures: list[Failed] = []
    for node, processes in by_node.items():
        answers = {r["key"]: r for r in replies.get(node, {}).get("results", ())}
        for process in processes:
            wrong = judge(answers.get(process.name))
            if wrong:
                failures.append(_failed(job, process, wrong))
            else:
                answer = answers[process.name]
                job.emit(
                    Proved(at=job.now, process=process.name, seconds=answer["seconds"], text=said(answer))
                )
    if not quiet:
        for failure in failures:
            job.emit(failure)
    return tuple(failures)


def completion(job: Job, process: Process) -> dict[str, Any]:
    """The probe request of one process."""
    headers = {"Content-Type": "application/json"} | authorization(job)
    body = {"model": job.plan.served_model_name, "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    return {
        "key": process.name,
        "url": f"{process.probe.url if process.probe else ''}/v1/completions",
        "method": "POST",
        "body": json.dumps(body),
        "headers": headers,
        "timeout": COMPLETION_TIMEOUT,
    }


def judge(answer: Mapping[str, Any] | None) -> str:
    """What is wrong with an answer to ``completion``; empty when it is a believable one."""
    if answer is None:
        return "gave no answer"
    if answer.get("error"):
        return f"did not answer: {answer['error']}"
    if answer["status"] != 200:  # noqa: PLR2004 - HTTP OK
        return f"answered {answer['status']}: {answer['body'][:200]}"
    return judge_text(said(answer))


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
    """The text of a completion; empty when the body is not one."""
    try:
        text = json.loads(answer["body"])["choices"][0]["text"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _failed(job: Job, process: Process, wrong: str) -> Failed:
    return Failed(
        at=job.now,
        process=process.name,
        node=process.node,
        text=f"{process.name} on {process.node} {wrong}",
        hint=f"dplaunch logs {process.name} -n 50",
    )
