"""One completion: what is asked, and how an answer is judged."""

import json

import pytest
from nodes import GOOD, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.job import connect_all
from dplaunch.fleet.proof import handover
from dplaunch.fleet.proof.completion import completion, judge_text, prove_alone, read, read_text, weigh
from dplaunch.model.cluster import SecretRef
from dplaunch.model.event import Failed, Proved
from dplaunch.model.proof import Answer
from dplaunch.model.remote import HttpReply
from dplaunch.router import body as router_body
from dplaunch.router import request as router_request

ENGINES = tuple(a_process(f"serve-{n}", f"n{n}") for n in range(3))
WORDS = " qx zp!! 0f vvk?"


def says(text):
    return HttpReply(status=200, body=json.dumps({"choices": [{"text": text}]}))


def proved(*nodes: Node):
    """The failures of a proof of three engines, each alone."""
    stage = Scene(a_plan(*ENGINES), *nodes)
    connect_all(stage.job)
    return prove_alone(stage.job, stage.job.plan.endpoints), stage


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (GOOD, " Rome, of course"),
        (
            'data: {"choices":[{"text":"Ro"}]}\n\ndata: {"choices":[{"text":"me"}]}\n\ndata: [DONE]\n\n',
            "Rome",
        ),
        ('data: {"choices":[{"text":"Ro"}]}\n\n', ""),  # cut off
        ('data: {"choices":[]}\n\ndata: [DONE]\n\n', ""),
        ('data: {"error":"dead"}\n\ndata: [DONE]\n\n', ""),
        ("data:", ""),
        ('{"choices": [{"text": 3}]}', ""),
        ("[]", ""),
    ],
)
def test_an_answer_is_read_whole_or_to_the_end_mark_of_its_stream(body, text):
    assert read_text(body) == text


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "empty"), (" \n", "empty"), ("a\ufffdb", "unprintable"), ("!!!!", "garbage"), ("!!!", "")],
)
def test_text_is_judged_by_itself(text, word):
    assert word in judge_text(text)
    assert bool(judge_text(text)) is bool(word)


def test_where_the_answer_is_known_another_one_is_wrong():
    assert weigh(Answer(text=WORDS), known=True).wrong
    assert not weigh(Answer(text=WORDS), known=False).wrong
    assert not weigh(Answer(text=" Rome. The"), known=True).wrong
    assert weigh(Answer(wrong="answered 500"), known=True).wrong == "answered 500"


def test_a_lost_node_is_no_answer():
    assert "node was lost" in read(None).wrong


def test_every_endpoint_is_asked_on_its_own_node():
    failures, stage = proved()
    assert failures == ()
    assert [(one.node, one.url) for one in stage.asked()] == [
        (f"n{n}", f"http://n{n}:9000/v1/completions") for n in range(3)
    ]
    assert [event.process for event in stage.of(Proved)] == ["serve-0", "serve-1", "serve-2"]


def test_the_key_goes_with_the_question():
    ref = SecretRef("env", "K")
    stage = Scene(a_plan(*ENGINES, api_key=ref))
    stage.job.secrets[ref] = "sesame"  # type: ignore[index]
    request = completion(stage.job, stage.job.plan.endpoints[0], stream=True)
    assert request.headers["Authorization"] == "Bearer sesame"
    assert json.loads(request.body)["stream"] is True
    assert json.loads(request.body)["temperature"] == 0


def test_an_endpoint_that_does_not_know_what_others_know_fails():
    [failed], stage = proved(Node("n1", answers={"serve-1": says(WORDS)}))
    assert (failed.process, failed.node) == ("serve-1", "n1")
    assert "wrong words" in failed.text
    assert stage.of(Failed) == [failed]
    assert [one.key for one in stage.asked()].count("serve-1") == 2


def test_an_endpoint_that_talks_nonsense_once_is_noted():
    failures, stage = proved(Node("n1", answers={"serve-1": [says(WORDS), says(" Rome")]}))
    assert failures == ()
    assert ["serve-1" in note for note in stage.notes] == [True]
    assert len(stage.of(Proved)) == 3


def test_where_no_endpoint_knows_the_answer_it_only_has_to_be_text():
    town = {f"serve-{n}": says(" a large town") for n in range(3)}
    failures, _ = proved(*(Node(f"n{n}", answers=town) for n in range(3)))
    assert failures == ()


def test_a_node_that_is_lost_is_a_failure_of_its_endpoints_alone():
    [failed], _ = proved(Node("n2", breaks_at="ask"))
    assert (failed.process, failed.node) == ("serve-2", "n2")


def test_a_proof_asks_as_the_router_does():
    # the router runs apart, and may not share code
    assert (handover.HANDLE, handover.ASK_FOR_HANDLE) == (router_body.HANDLE, router_body.ASK_FOR_HANDLE)
    assert handover.HEADER == router_request.HEADER


def tokens(*ids: int, text="\u0001", likely=None):
    choice = {"text": text, "token_ids": list(ids), "logprobs": likely and {"top_logprobs": likely}}
    return HttpReply(status=200, body=json.dumps({"choices": [choice]}))


EQUAL, UNEQUAL = {"a": -5.5, "b": -5.5}, {"a": -0.1, "b": -5.5}


def test_token_ids_are_read_whole_or_from_a_stream():
    assert read(tokens(7, 8)).tokens == (7, 8)
    events = [
        '{"choices": [{"text": "a", "token_ids": [7, 8]}]}',
        '{"choices": [{"text": "b", "token_ids": [9]}]}',
    ]
    body = "".join(f"data: {event}\n\n" for event in (*events, "[DONE]"))
    assert read(HttpReply(status=200, body=body)).tokens == (7, 8, 9)
    assert read(HttpReply(status=200, body=GOOD)).tokens == ()


def test_where_no_engine_knows_words_token_ids_are_enough_and_that_is_said():
    stage = alone({name: tokens(1, 2, 3, 4) for name in ("decode-0", "decode-1")})
    assert prove_alone(stage.job, stage.job.plan.endpoints) == ()
    [note] = stage.notes
    assert "the words were not judged" in note


@pytest.mark.parametrize(("likely", "fails"), [([EQUAL] * 4, False), ([UNEQUAL] * 4, True), (None, True)])
def test_one_token_repeated_is_broken_unless_every_token_is_as_likely(likely, fails):
    """Dummy weights make all tokens equally likely; broken kernels repeat one that is sure."""
    first, second = (tokens(0, 0, 0, 0, text="!!!!", likely=one) for one in (None, likely))
    stage = alone({name: [first, second] for name in ("decode-0", "decode-1")})
    failures = prove_alone(stage.job, stage.job.plan.endpoints)
    assert ["garbage: '!!!!'" in failure.text for failure in failures] == [True, True] * fails
    assert sum('"logprobs": 2' in request.body for request in stage.asked()) == 2


def alone(answers):
    plan = a_plan(*(a_process(name, f"n{n}") for n, name in enumerate(answers)))
    stage = Scene(plan, *(Node(f"n{n}", answers={name: a}) for n, (name, a) in enumerate(answers.items())))
    connect_all(stage.job)
    return stage
