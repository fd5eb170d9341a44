"""docs/guard-protocol.md and this room say the same: its examples are what we send, and can be read."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dplaunch.model.cluster import RuntimeSpec, SshSpec
from dplaunch.model.plan import File, LogFile, NodePlan, Process
from dplaunch.model.remote import HttpRequest, LogQuery, LogSource, Pattern
from dplaunch.model.trail import Entry, Result
from dplaunch.wire import replies, requests
from dplaunch.wire.events import signal
from dplaunch.wire.lines import encode

PAGE = (Path(__file__).parents[2] / "docs" / "guard-protocol.md").read_text()


def examples() -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Per verb its request, and the messages that answer it."""
    asked: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []
    for arrow, text in re.findall(r"^    ([→←]) (\{.*\})$", PAGE, re.MULTILINE):
        message = json.loads(text)
        if arrow == "→":
            if "id" in asked:
                yield asked["verb"], asked, answers
            asked, answers = message, []
        else:
            answers.append(message)
    yield asked["verb"], asked, answers


EXAMPLES = list(examples())
VERBS = {verb for verb, _, _ in EXAMPLES}

PROCESS = Process(
    name="decode-0",
    kind="engine",
    role="decode",
    group="decode/0",
    node="n1",
    argv=("a",),
    logs=(LogFile("l", "p"),),
)
NODE = NodePlan(
    name="n1", host="h", address="a", ssh=SshSpec(), runtime=RuntimeSpec(), files=(), processes=(PROCESS,)
)
SENT = [
    requests.observe(health=True),
    requests.lock("a", "up"),
    requests.lock_again("a", "up", 1.0),
    requests.unlock(),
    requests.put([File("p", "t")], {}, expect=""),
    requests.get(["p"]),
    requests.start(NODE, [PROCESS], {}),
    requests.watch([PROCESS], [Pattern("i", "r")], {}),
    requests.follow([LogSource("a")], LogQuery(), 0.0),
    requests.cancel(1),
    requests.ask([HttpRequest(key="k", node="n1", url="u")]),
    requests.stop(["a"], None),
    requests.forget(),
    requests.execute(["a"], 1.0),
    requests.listen("a", [1], 1, 1.0),
    requests.connect([("k", "a", 1)], 1.0),
    requests.record(Entry(at=1.0, who="a", verb="up", result=Result.READY)),
    requests.trail(1),
]
READ: dict[str, Callable[[str, Any], Any]] = {
    "observe": replies.observed,
    "get": replies.files,
    "start": replies.started,
    "probe": replies.answers,
    "exec": replies.executed,
    "survey": replies.surveyed,
    "connect": replies.connected,
    "audit": replies.entries,
}
EVENTS: dict[str, Callable[[str, Any], Any]] = {"stopped": replies.verdict, "listening": replies.listening}


def shape(value: Any) -> Any:
    """The names in a message, list items as one; what a map of names holds is not looked into."""
    if isinstance(value, dict):
        free = ("env", "secrets", "headers", "meta", "groups", "append", "plan")
        return {key: None if key in free else shape(item) for key, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def missing(sent: Any, known: Any) -> list[str]:
    """Names that are sent and stand in no example."""
    if isinstance(sent, dict) and isinstance(known, dict):
        own = [name for name in sent if name not in known]
        return own + [name for key in sent if key in known for name in missing(sent[key], known[key])]
    if isinstance(sent, list) and isinstance(known, list):
        return missing(sent[0], known[0])
    return []


def test_every_verb_of_the_page_is_sent():
    """A survey's fields are the caller's own."""
    assert len(VERBS) > 15
    assert {verb for verb, _ in SENT} == VERBS - {"survey"}


@pytest.mark.parametrize(("verb", "fields"), SENT, ids=[verb for verb, _ in SENT])
def test_what_is_sent_has_the_names_of_the_page(verb, fields):
    known: dict[str, Any] = {}
    for name, asked, _ in EXAMPLES:
        known |= shape(asked) if name == verb else {}
    unknown = missing(shape(json.loads(encode(fields))), known)
    assert [name for name in unknown if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("verb", "answers"),
    [(verb, answers) for verb, _, answers in EXAMPLES],
    ids=[verb for verb, _, _ in EXAMPLES],
)
def test_what_the_page_answers_can_be_read(verb, answers):
    *streamed, last = answers
    assert (last["ok"], "event" in last) == (True, False)
    if verb in READ:
        assert replies.read("n1", last, READ[verb])
    for event in streamed:
        parse = EVENTS.get(event["event"])
        assert (
            replies.read("n1", event, parse)
            if parse
            else signal("n1", event) or event["event"] in ("stopping", "ended", "surveyed")
        )
