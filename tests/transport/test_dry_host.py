import pytest

from dplaunch import wire
from dplaunch.errors import HostError
from dplaunch.transport.dry import DryHost
from dplaunch.transport.host import Result

HELLO = {"event": "hello", "protocol": 1}


def guard(_stream, request):
    if not request:
        return (HELLO,)
    return ({"id": request["id"], "ok": True, "echo": request["verb"]},)


def test_everything_that_is_sent_is_kept_in_order():
    host = DryHost("n1", guard, run_answer=lambda argv, stdin: Result(0, stdin + argv[0].encode(), ""))
    assert host.run(["cat"], stdin=b"in ", timeout=1).out == b"in cat"
    host.put("a", b"x", 0o644)
    stream = host.stream(["python3"])
    wire.greet(stream, "n1", "c1", None)
    stream.send(b'{"id": 1, "verb": "observe"}\n{"id": 2,')
    stream.send(b' "verb": "stop"}\n')
    lines = stream.lines()
    assert [wire.decode(next(lines))["echo"] for _ in range(2)] == ["observe", "stop"]
    assert [entry[0] for entry in host.sent] == ["run", "put", "stream", "request", "request"]
    assert host.sent[-1] == ("request", {"id": 2, "verb": "stop"})


def test_events_may_come_at_any_time_and_a_close_ends_them():
    host = DryHost("n1", guard)
    stream = host.stream(["python3"])
    stream.say({"event": "beat"})
    host.close()
    assert [wire.decode(line) for line in stream.lines()] == [{"event": "beat"}]
    assert (stream.wait(0), host.closed) == (0, True)


def test_a_link_can_be_broken_by_the_script():
    stream = DryHost("n1").stream(["python3"])
    stream.say(HELLO)
    stream.fail(HostError("n1", "gone"))
    lines = stream.lines()
    assert wire.decode(next(lines)) == HELLO
    with pytest.raises(HostError, match="gone"):
        next(lines)
    with pytest.raises(HostError, match="n1 ended the session"):
        stream.send(b"{}\n")
