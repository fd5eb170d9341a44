"""Logs on their way here: nothing lost and nothing twice, whatever happens to links."""

from functools import partial

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import Interrupted
from dplaunch.fleet.logs.follow import QUIET, Following
from dplaunch.model.event import NodeFailed
from dplaunch.model.remote import LinesRead, LogQuery, Stream

PLAN = a_plan(a_process("decode-0", "n2"), a_process("decode-1", "n2"), a_process("prefill-0", "n1"))
OUTPUT = (("decode-0", "n2", ""),)


def following(*nodes: Node, sources=OUTPUT, **query):
    stage = Scene(PLAN, *nodes)
    stage.driver.open()
    seen = []
    return stage, Following(stage.job, sources, LogQuery(**query), seen.append), seen


def lines(chunks):
    return [line for chunk in chunks for line in chunk.lines]


def test_without_follow_it_ends_by_itself():
    stage, logs, seen = following(Node("n2", logs={"decode-0": ["one", "two", "three"]}), tail=2)
    logs.run()
    assert [(chunk.process, chunk.node, chunk.offset, chunk.end) for chunk in seen] == [
        ("decode-0", "n2", 4, 14)
    ]
    assert lines(seen) == ["two", "three"]
    assert stage.driver.clock() == 1000.0


def test_a_link_that_breaks_is_resumed_from_its_offset_and_shows_nothing_twice():
    n2 = Node("n2", logs={"decode-0": ["one", "two"]})
    stage, logs, seen = following(n2, follow=True)
    stage.driver.then = {
        5.0: partial(stage.driver.lose, "n2"),
        5.5: partial(n2.write, "decode-0", "three"),
        20.0: partial(n2.write, "decode-0", "four"),
        30.0: stage.driver.interrupt,
    }
    with pytest.raises(Interrupted):
        logs.run()
    assert lines(seen) == ["one", "two", "three", "four"]
    assert n2.opened == 2
    assert [sources[0].offset for _, sources, _ in stage.calls("follow")] == [None, 8]
    assert ["n2 is back" in note for note in stage.notes] == [True]


def test_a_node_that_stays_away_is_reported_once_and_the_others_are_followed():
    n1 = Node("n1")
    sources = (*OUTPUT, ("prefill-0", "n1", ""))
    stage, logs, seen = following(
        n1, Node("n2", breaks_at="follow", stays_away=True), sources=sources, follow=True
    )
    stage.driver.then = {60.0: partial(n1.write, "prefill-0", "late"), 61.0: stage.driver.interrupt}
    stage.driver.lose("n2")
    stage.driver.open({"n1"})
    with pytest.raises(Interrupted):
        logs.run()
    assert lines(seen) == ["late"]


def test_without_follow_a_node_that_breaks_is_left_out():
    n2 = Node("n2", logs={"decode-0": ["one"]})
    stage, logs, seen = following(
        Node("n1", logs={"prefill-0": ["1"]}), n2, sources=(*OUTPUT, ("prefill-0", "n1", ""))
    )
    n2.breaks_at = "follow"
    logs.run()
    assert lines(seen) == ["1"]
    assert stage.of(NodeFailed) == []
    assert "n2" in stage.driver.unreached


def test_a_new_run_begins_at_its_first_byte_and_is_announced():
    n2 = Node("n2", logs={"decode-0": ["a long line of the first run"]}).observed("decode-0")
    stage, logs, seen = following(n2, follow=True)
    begun = []
    logs.on_restart = begun.append

    def again():
        n2.stop("decode-0", "TERM")
        n2.start(PLAN.processes[0])
        n2.write("decode-0", "new")

    stage.driver.then = {5.0: again, 9.0: stage.driver.interrupt}
    with pytest.raises(Interrupted):
        logs.run()
    assert begun == ["decode-0"]
    assert [(chunk.offset, chunk.lines) for chunk in seen][-1] == (0, ("new",))


def test_files_that_a_process_writes_itself_are_followed_beside_its_output():
    n2 = Node("n2", logs={"decode-0": ["out"], ("decode-0", "worker"): ["in a file"]})
    _, logs, seen = following(n2, sources=(*OUTPUT, ("decode-0", "n2", "worker")))
    logs.run()
    assert [(chunk.process, chunk.lines) for chunk in seen] == [
        ("decode-0", ("out",)),
        ("decode-0:worker", ("in a file",)),
    ]


def test_bytes_that_are_lost_are_noted():
    stage, logs, _ = following(Node("n2", dropped={"decode-0": 77}))
    logs.run()
    assert ["77 bytes" in note for note in stage.notes] == [True]


def test_the_run_before_and_lines_that_match_are_asked_for():
    n2 = Node("n2", logs={"decode-0": ["new"]}, previous={"decode-0": ["old one", "old two"]})
    _, logs, seen = following(n2, previous=True, grep="two", tail=None)
    logs.run()
    assert lines(seen) == ["old two"]


def test_without_follow_a_node_that_never_ends_its_stream_is_given_up_and_named():
    n2 = Node("n2", logs={"decode-0": ["one"]}, silent=True)
    stage, logs, seen = following(n2)
    logs.run()
    assert lines(seen) == ["one"]
    assert logs.refusals == ["n2 did not send its logs to their end"]
    assert stage.driver.clock() < 1000.0 + 2 * QUIET


def test_lines_of_a_process_that_was_not_asked_of_that_node_are_left_out():
    stage, logs, seen = following(Node("n2", logs={"decode-0": ["one"]}), sources=OUTPUT)
    wrong = LinesRead(stream=Stream("n2", 1), process="router", file="", offset=0, end=4, lines=("two",))
    stage.driver._mail.append(wrong)
    logs.run()
    assert lines(seen) == ["one"]
