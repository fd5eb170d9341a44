"""Readiness over links that break: nothing that runs notices, and the others are heard meanwhile."""

from functools import partial

import pytest
from nodes import READY, SILENT, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import HostError, NotReadyError
from dplaunch.fleet.change.ready import Readiness
from dplaunch.fleet.job import connect_all
from dplaunch.model.cluster import SecretRef
from dplaunch.model.event import BecameReady, NodeFailed
from dplaunch.model.plan import Ready as Condition

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))


def scene(*nodes: Node, processes=ENGINES, **fields):
    """Everything has started."""
    stage = Scene(a_plan(*processes, **fields), *nodes)
    connect_all(stage.job)
    stage.driver.start(stage.job.plan, [process.place for process in processes], {})
    return stage


def wait(stage, patience=600.0):
    return Readiness(stage.job, stage.job.plan.processes, patience).wait()


def test_each_node_is_watched_once_and_the_watches_end_with_the_wait():
    stage = scene()
    assert wait(stage) == ()
    watches = stage.calls("watch")
    assert sorted(watches) == [("n1", ("prefill-0",), {}), ("n2", ("decode-0", "decode-1"), {})]
    assert {stream.node for stream in stage.calls("cancel")} == {"n1", "n2"}
    assert not any(node.streams for node in stage.nodes.values())


def test_watches_end_when_time_is_up_too():
    stage = scene(Node("n2", health={"decode-0": SILENT}))
    with pytest.raises(NotReadyError):
        wait(stage, 60.0)
    assert len(stage.calls("cancel")) == 2
    assert stage.driver.clock() == 1060.0


def test_a_link_that_breaks_is_opened_again_and_nothing_is_lost():
    n2 = Node("n2", health={"decode-0": SILENT})
    stage = scene(n2)
    stage.driver.then[10.0] = partial(stage.driver.lose, "n2")
    stage.driver.then[40.0] = partial(n2.turn, "decode-0", "decode-0", READY)
    assert wait(stage) == ()
    assert n2.opened == 2
    assert [event.node for event in stage.of(NodeFailed)] == ["n2"]
    assert any("n2 is back" in note for note in stage.notes)
    assert [names for node, names, _ in stage.calls("watch") if node == "n2"][-1] == ("decode-0",)


def test_an_engine_that_became_ready_while_the_link_was_down_is_seen():
    n2 = Node("n2", breaks_at="watch")
    stage = scene(n2)
    assert wait(stage) == ()
    assert n2.opened == 2


def test_while_a_node_is_away_the_others_are_heard():
    n1 = Node("n1", health={"prefill-0": SILENT})
    stage = scene(n1, Node("n2", breaks_at="watch", stays_away=True))
    stage.driver.then[20.0] = partial(n1.end, "prefill-0", 1)
    [failed] = wait(stage)
    assert (failed.process, failed.at) == ("prefill-0", 1020.0)


def test_a_node_that_stays_away_is_given_up_after_a_minute():
    stage = scene(Node("n2", breaks_at="watch", stays_away=True))
    with pytest.raises(HostError, match="n2"):
        wait(stage)
    assert 1060.0 < stage.driver.clock() < 1070.0


def test_after_a_failure_the_other_logs_are_heard_for_a_moment():
    n2 = Node("n2", health={"decode-1": SILENT})
    stage = scene(Node("n1"), n2)
    stage.driver.then[5.0] = partial(n2.end, "decode-0", 1)
    stage.driver.then[5.5] = partial(n2.end, "decode-1", 1)
    assert [one.process for one in wait(stage)] == ["decode-0", "decode-1"]
    assert stage.driver.clock() == 1006.0


def test_a_process_without_http_is_awaited_by_its_line():
    headless = a_process("decode-2", "n2", endpoints=(), ready=Condition("line", r"joined the group"))
    n2 = Node("n2")
    stage = scene(n2, processes=(*ENGINES, headless))
    stage.driver.then[7.0] = partial(n2.write, "decode-2", "loading", "rank 1 joined the group of 2")
    assert wait(stage) == ()
    assert [(e.process, e.seconds) for e in stage.of(BecameReady)][-1] == ("decode-2", 7.0)


def test_engines_with_a_key_are_asked_with_it():
    ref = SecretRef("env", "K")
    stage = scene(api_key=ref)
    stage.job.secrets[ref] = "sesame"  # type: ignore[index]
    wait(stage)
    assert [headers for _, _, headers in stage.calls("watch")] == [{"Authorization": "Bearer sesame"}] * 2
