"""One session: requests out, messages in, beats, and how it ends."""

import contextlib
import json
import queue
from types import SimpleNamespace

from dplaunch.errors import HostError
from dplaunch.fleet.guards.session import Arrived, Lost, NodeSession


class Line:
    """A host's stream that takes what is sent, and gives what a test puts in."""

    def __init__(self, stderr="") -> None:
        self.sent = []
        self.coming = queue.SimpleQueue()
        self._stderr = stderr

    def send(self, data):
        self.sent.append(data)

    def lines(self, meanwhile):
        line = b""
        while line is not None:
            meanwhile()
            with contextlib.suppress(queue.Empty):
                line = self.coming.get(timeout=0.01)
                if isinstance(line, Exception):
                    raise line
                if line is not None:
                    yield line

    def stderr_tail(self):
        return self._stderr

    def close(self):
        self.coming.put(None)


def session(line, beat=60.0):
    closed = []
    host = SimpleNamespace(close=lambda: closed.append(1))
    made = NodeSession(SimpleNamespace(name="n1"), host, line, {"event": "hello"}, beat=beat)
    mail = []
    made.listen(mail.append)
    return made, mail, closed


def test_requests_are_numbered_lines():
    line = Line()
    made, _, _ = session(line)
    assert [made.request("observe", {"health": True}), made.request("unlock")] == [1, 2]
    assert [json.loads(one) for one in line.sent] == [
        {"id": 1, "verb": "observe", "health": True},
        {"id": 2, "verb": "unlock"},
    ]
    made.close()


def test_a_node_hears_from_us_whatever_the_loop_waits_for(until):
    line = Line()
    made, mail, closed = session(line, beat=0.01)
    until(lambda: len(line.sent) >= 3)
    assert set(line.sent) == {b'{"verb":"beat"}\n'}
    made.close()
    until(lambda: [type(one) for one in mail] == [Lost])
    assert closed == [1]


def test_messages_are_mail_and_beats_are_not(until):
    line = Line()
    made, mail, _ = session(line)
    for message in ({"event": "beat"}, {"id": 1, "ok": True}):
        line.coming.put(json.dumps(message).encode())
    until(lambda: mail)
    assert mail == [Arrived("n1", {"id": 1, "ok": True})]
    made.close()


def test_the_end_of_a_session_comes_with_what_it_printed_last(until):
    line = Line(stderr="Traceback\nMemoryError")
    _, mail, _ = session(line)
    line.coming.put(None)
    [lost] = until(lambda: mail)
    assert (lost.node, lost.error.detail) == ("n1", ("Traceback", "MemoryError"))


def test_a_link_that_breaks_is_lost_with_its_own_error(until):
    line = Line()
    _, mail, _ = session(line)
    line.coming.put(HostError("n1", "the link broke"))
    [lost] = until(lambda: mail)
    assert lost.error.text == "the link broke"


def test_a_line_that_is_no_message_ends_the_session(until):
    line = Line()
    _, mail, _ = session(line)
    line.coming.put(b"Killed")
    [lost] = until(lambda: mail)
    assert "Killed" in lost.error.text
    assert lost.error.node == "n1"
