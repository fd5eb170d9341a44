"""Pairs of engines whose words say nothing are compared with their prefill engine, token by token."""

import json

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.proof.tokens import compare_tokens
from dplaunch.model.proof import Answer, Pair
from dplaunch.model.remote import HttpReply

PLAN = a_plan(a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("serve-0", "n1"))
PAIR = Pair(("prefill-0", "decode-0"), ("n1", "n2"))
OWN = (7, 8, 9, 10)


def reply(*tokens: int, likely=None):
    choice = {"text": "\u0001", "token_ids": list(tokens)}
    if likely is not None:
        choice["logprobs"] = {"top_logprobs": likely}
    return HttpReply(status=200, body=json.dumps({"choices": [choice]}))


def compared(answer: Answer, own: HttpReply, pair: Pair = PAIR):
    scene = Scene(PLAN, Node("n1", answers={pair.key: own}))
    scene.driver.open()
    return compare_tokens(scene.job, {pair: answer}, "1", PLAN.endpoints)[pair], scene


def test_the_same_tokens_are_right():
    found, scene = compared(Answer(tokens=OWN), reply(*OWN))
    assert found.wrong == ""
    [asked] = scene.asked("n1")
    assert "kv_transfer_params" not in json.loads(asked.body)


@pytest.mark.parametrize("tokens", [(7, 8, 9), (7, 8, 9, 10, 11)])
def test_an_answer_that_ends_earlier_or_later_is_right_as_far_as_it_goes(tokens):
    assert compared(Answer(tokens=tokens), reply(*OWN))[0].wrong == ""


def test_another_token_is_wrong_and_named_with_its_place():
    found, _ = compared(Answer(tokens=(7, 8, 3, 10)), reply(*OWN))
    assert found.wrong == "continued otherwise than prefill-0 itself: token 3 instead of 9 at place 3 of 4"


@pytest.mark.parametrize(
    ("likely", "tie"),
    [
        ({"token_id:9": -1.0, "token_id:3": -1.05}, True),
        ({"token_id:9": -1.0, "token_id:3": -1.5}, False),
        ({"token_id:9": -1.0, "token_id:4": -1.0}, False),
        (None, False),
    ],
)
def test_a_near_tie_is_no_difference(likely, tie):
    own = reply(*OWN, likely=[{}, {}, likely, {}])
    assert (compared(Answer(tokens=(7, 8, 3, 10)), own)[0].wrong == "") is tie


def test_words_that_make_no_sense_where_prefill_alone_makes_some_are_what_is_wrong():
    own = HttpReply(status=200, body=json.dumps({"choices": [{"text": " a town", "token_ids": [1, 2]}]}))
    found, _ = compared(Answer(tokens=(3, 4), senseless="answered 200 with garbage"), own)
    assert found.wrong == "answered 200 with garbage"


def test_a_prefill_engine_that_cannot_be_asked_alone_is_named():
    found, _ = compared(Answer(tokens=OWN), HttpReply(status=500, body="no"))
    assert found.wrong == "prefill-0, asked alone for comparison, answered 500: no"


@pytest.mark.parametrize("answer", [Answer(text="x"), Answer(wrong="answered 500", tokens=OWN)])
def test_what_has_no_tokens_or_is_wrong_already_is_left_alone(answer):
    found, scene = compared(answer, reply(*OWN))
    assert found == answer
    assert scene.asked("n1") == []


def test_an_engine_that_does_both_is_left_alone():
    alone = Pair(("serve-0",), ("n1",))
    found, scene = compared(Answer(tokens=OWN), reply(1, 2), alone)
    assert found.wrong == ""
    assert scene.asked("n1") == []
