"""Links that break while a walk is at work: nobody else is lost, nothing is held twice, nothing is forgotten."""

import queue
import threading
from types import SimpleNamespace

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process, open_fake

from dplaunch.errors import DplaunchError, HostError, Interrupted, LockedError, NotReadyError
from dplaunch.fleet.down import down
from dplaunch.fleet.fleet import Fleet
from dplaunch.fleet.session import Lost, NodeSession
from dplaunch.fleet.up import UpOptions, up
from dplaunch.model.event import Failed, Note, Stopped

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))


def yes(_):
    return True


def scene(*nodes: FakeNode, step=1.0):
    return Scene(a_plan(*ENGINES), *nodes, step=step)


def test_what_an_earlier_session_still_says_does_not_end_the_new_one():
    n2 = FakeNode("n2", silent={"start"})
    stage = scene(n2, step=20.0)
    with pytest.raises(HostError, match="n2 did not answer within"):
        up(stage.job, UpOptions(), yes)
    # the session that was given up says that it ended, when the second one is open already
    assert (n2.opened, n2.closed) == (2, 1)
    assert n2.verbs()[-1] == "observe"
    assert not [note for note in stage.of(Note) if "cannot be reached" in note.text]


def test_while_a_node_is_away_the_others_are_heard():
    n1 = FakeNode("n1", watch={"prefill-0": []})
    stage = scene(n1, FakeNode("n2", breaks_at="watch", stays_away=True), step=5.0)
    gone = {"event": "exit", "name": "prefill-0", "code": 1, "signal": "", "tail": ["boom"], "log": "/s/log"}
    stage.then[20.0] = lambda: n1.session.say(**gone)
    with pytest.raises(DplaunchError, match="prefill-0 on n1 exited with code 1"):
        up(stage.job, UpOptions(timeout=600.0), yes)
    assert stage.of(Failed)[0].at < 1030.0


def test_an_end_that_nobody_saw_has_no_code():
    gone = {"event": "exit", "code": None, "signal": "", "tail": [], "log": ""}
    with pytest.raises(DplaunchError, match="decode-0 on n2 exited before it was ready"):
        up(scene(FakeNode("n2", watch={"decode-0": [gone]})).job, UpOptions(), yes)


def test_the_lock_is_taken_again_first_of_all_when_its_node_is_back():
    n1 = FakeNode("n1", breaks_at="watch")
    assert up(scene(n1).job, UpOptions(), yes).ready
    after = n1.verbs()[n1.verbs().index("watch") + 1 :]
    assert after[:2] == ["relock", "watch"]
    assert after[-1] == "unlock"


def test_who_lost_the_lock_to_another_leaves_everything_as_it_is():
    held = {"kind": "locked", "lock": {"holder": "eve@desk", "what": "down", "since": 0.0}}
    n1 = FakeNode("n1", breaks_at="watch", errors={"relock": held}, watch={"prefill-0": []})
    stage = scene(n1, FakeNode("n2", watch={"decode-0": []}))
    with pytest.raises(
        LockedError, match="the link to n1 broke, and with it our lock: now eve@desk is running"
    ):
        up(stage.job, UpOptions(timeout=600.0), yes)
    assert stage.of(Stopped) == []


def test_watches_end_with_the_wait():
    n2 = FakeNode("n2", watch={"decode-0": []})
    with pytest.raises(NotReadyError):
        up(scene(n2, step=20.0).job, UpOptions(timeout=60.0), yes)
    [number] = [asked["target"] for verb, asked in n2.asked if verb == "cancel"]
    assert number == n2.verbs().index("watch") + 1


def test_a_node_that_has_a_session_is_not_opened_again():
    n2 = FakeNode("n2", errors={"observe": {"kind": "guard", "text": "no"}})
    stage = scene(n2)
    stage.fleet.open()
    stage.fleet.unreached["n2"] = HostError("n2", "it could not answer")
    stage.fleet.open({"n2"})
    assert (n2.opened, stage.fleet.unreached) == (1, {})


def test_a_session_that_comes_too_late_is_closed(until):
    plan, go = a_plan(*ENGINES), threading.Event()
    slow = FakeNode("n2")

    def opener(node):
        if node.name == "n2":
            assert go.wait(10)
            return open_fake(slow)
        return open_fake(FakeNode(node.name))

    fleet = Fleet(plan.nodes, opener, patience=0.05)
    fleet.open()
    assert set(fleet.sessions) == {"n1"}
    assert "did not finish within" in fleet.unreached["n2"].text
    go.set()
    until(lambda: slow.closed == 1)


@pytest.mark.parametrize("walk", [lambda job, ask: up(job, UpOptions(), ask), down])
def test_ctrl_c_at_a_question_is_heard_at_once(walk):
    stage = scene(FakeNode("n1").observed("prefill-0"))

    def press(_):
        stage.fleet.interrupt()
        raise AssertionError("the question went on")

    with pytest.raises(Interrupted):
        walk(stage.job, press)


class Line:
    """A host's stream that takes what is sent and never says anything."""

    def __init__(self) -> None:
        self.sent = []
        self._end = queue.SimpleQueue()

    def send(self, data):
        self.sent.append(data)

    def lines(self):
        yield from iter(self._end.get, None)

    def stderr_tail(self):
        return ""

    def close(self):
        self._end.put(None)


def test_a_node_hears_from_us_whatever_the_loop_waits_for(until):
    line, mail = Line(), []
    session = NodeSession(
        SimpleNamespace(name="n1"), SimpleNamespace(close=lambda: None), line, {}, beat=0.01
    )
    session.listen(mail.append)
    until(lambda: len(line.sent) >= 3)
    assert set(line.sent) == {b'{"verb": "beat"}\n'}
    session.close()
    until(lambda: [type(one) for one in mail] == [Lost])
    beats = len(line.sent)
    assert session.request("observe") == 1
    assert len(line.sent) == beats + 1
