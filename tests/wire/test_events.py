"""What a guard reports on a stream → signals."""

import pytest

from dplaunch.errors import HostError
from dplaunch.model.remote import (
    HealthSeen,
    LineSeen,
    LinesLost,
    LinesRead,
    LogRestarted,
    ProcessExited,
    Refusal,
    Stream,
    StreamEnded,
)
from dplaunch.wire.events import signal

HERE = Stream("n1", 4)

SIGNALS = [
    (
        {"event": "line", "name": "a", "pattern": "stage 0", "text": "loading", "offset": 3, "groups": {"percent": "45"}},
        LineSeen(stream=HERE, process="a", pattern="stage 0", text="loading", groups={"percent": "45"}),
    ),
    (
        {"event": "line", "name": "a", "pattern": "ready", "text": "up"},
        LineSeen(stream=HERE, process="a", pattern="ready", text="up"),
    ),
    (
        {"event": "health", "name": "a", "endpoint": "decode-1", "ok": True, "models": True, "status": 200},
        HealthSeen(stream=HERE, process="a", endpoint="decode-1", ok=True, named=True, status=200),
    ),
    (
        {"event": "health", "name": "a", "endpoint": "decode-1", "ok": False},
        HealthSeen(stream=HERE, process="a", endpoint="decode-1", ok=False),
    ),
    (
        {"event": "exit", "name": "a", "code": 1, "signal": "", "tail": ["x"], "log": "/s/log", "asked": False, "again": True},
        ProcessExited(stream=HERE, process="a", code=1, again=True, log="/s/log", tail=("x",)),
    ),
    (
        {"event": "exit", "name": "a", "code": 0, "done": True},
        ProcessExited(stream=HERE, process="a", code=0, done=True),
    ),
    (
        {"event": "exit", "name": "a", "code": None, "signal": "SIGKILL", "tail": None, "log": None},
        ProcessExited(stream=HERE, process="a", signal="SIGKILL"),
    ),
    (
        {"event": "log", "name": "a", "file": "worker", "offset": 3, "end": 5, "lines": ["x"]},
        LinesRead(stream=HERE, process="a", file="worker", offset=3, end=5, lines=("x",)),
    ),
    (
        {"event": "log", "name": "a", "offset": 0, "end": 0, "lines": []},
        LinesRead(stream=HERE, process="a", offset=0, end=0, lines=()),
    ),
    ({"event": "gap", "name": "a", "file": "", "lost": 70}, LinesLost(stream=HERE, process="a", bytes=70)),
    ({"event": "restarted", "name": "a", "file": "worker"}, LogRestarted(stream=HERE, process="a", file="worker")),
    ({"event": "ended", "name": "a", "code": 0}, None),
    ({"event": "surveyed", "done": 1, "count": 2}, None),
    ({"event": "of a later protocol"}, None),
    ({"event": {"of": "no protocol"}}, None),
    ({"ok": True, "offsets": []}, StreamEnded(stream=HERE)),
    (
        {"ok": False, "error": {"kind": "verb", "text": "unknown verb"}},
        StreamEnded(stream=HERE, refusal=Refusal(kind="verb", text="unknown verb")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), SIGNALS)
def test_a_message_becomes_its_signal(message, expected):
    found = signal("n1", {"id": 4, **message})
    assert found == expected
    assert found is None or found.node == "n1"


@pytest.mark.parametrize(
    "message",
    [
        {"event": "line", "name": "a", "pattern": "stage 0"},
        {"event": "health", "name": "a", "ok": True},
        {"event": "health", "endpoint": "decode-1", "ok": True},
        {"event": "exit", "code": 0},
        {"event": "exit", "name": "a", "tail": 7},
        {"event": "log", "name": "a", "offset": "x", "end": 5, "lines": []},
        {"event": "log", "name": "a", "offset": 3, "lines": []},
        {"event": "log", "name": "a", "offset": 3, "end": 5, "lines": None},
        {"event": "gap", "name": "a"},
        {"event": "restarted"},
        {"event": "restarted", "name": {}},
        {"event": "exit", "name": ["a"], "code": 0},
        {"event": "health", "name": "a", "endpoint": {}, "ok": True, "models": True},
    ],
)
def test_an_event_of_another_form_is_an_error_that_names_the_node(message):
    with pytest.raises(HostError, match="n1 replied in a form that this dplaunch cannot read") as caught:
        signal("n1", {"id": 4, **message})
    assert caught.value.node == "n1"
