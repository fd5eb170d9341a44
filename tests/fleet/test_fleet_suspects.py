"""What is told of logs while engines load: the line that explains why they may never serve."""

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import DplaunchError, NotReadyError
from dplaunch.fleet.up import UpOptions, up
from dplaunch.model.event import Note
from dplaunch.wire import SUSPECT

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
READY = {"event": "health", "ok": True, "models": True}
GONE = {"event": "exit", "code": 1, "signal": "", "tail": ["boom"], "log": "/s/log"}
WAITS = "ERROR 04-25 10:01:30 [x.py:1] EI0006: Getting socket times out. Reason: the remote did not answer"
CAUSE = "ERROR 04-25 10:01:17 [x.py:1] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"


def says(*lines: str):
    return [{"event": "line", "pattern": SUSPECT, "text": line} for line in lines]


def notes(error, **watch):
    """What is told when these engines do not become ready within a minute."""
    stage = Scene(a_plan(*ENGINES), FakeNode("n1"), FakeNode("n2", watch=watch))
    with pytest.raises(error):
        up(stage.job, UpOptions(timeout=60.0), lambda _: True)
    return [note.text for note in stage.of(Note)]


def test_the_line_that_explains_it_is_told_once_with_what_to_do():
    [note] = notes(NotReadyError, **{"decode-0": says(WAITS), "decode-1": says(CAUSE, CAUSE)})
    assert note.startswith("decode-1 goes on without serving yet, but on n2 the log says: ")
    assert "NPU out of memory" in note
    assert note.endswith("`dplaunch diagnose` tells more")


def test_where_all_only_wait_for_another_it_is_named():
    [note] = notes(NotReadyError, **{"decode-0": says(WAITS), "decode-1": []})
    assert note.startswith("decode-0 goes on without serving yet")
    assert "no error stands in the log of decode-1: look there first" in note


def test_an_error_that_nobody_knows_is_told_too():
    [note] = notes(NotReadyError, **{"decode-1": says("ERROR 04-25 10:01:17 [x.py:1] the moon is wrong")})
    assert note.endswith("the moon is wrong; `dplaunch logs decode-1` shows more")


def test_a_harmless_line_hides_no_later_one():
    harmless = "ERROR 04-25 10:01:17 [x.py:1] a plugin could not be loaded"
    first, second = notes(
        NotReadyError,
        **{"decode-0": says(harmless), "decode-1": says(harmless.replace("a plugin", "shard 7"))},
    )
    assert "a plugin could not be loaded" in first
    assert "shard 7 could not be loaded" in second


def test_logs_that_hold_an_error_are_read_nearly_whole_after_a_failure():
    n2 = FakeNode("n2", watch={"decode-0": [*says(WAITS)], "decode-1": [GONE]})
    stage = Scene(a_plan(*ENGINES), n2)
    with pytest.raises(DplaunchError, match="decode-1 on n2 exited"):
        up(stage.job, UpOptions(timeout=60.0), lambda _: True)
    tails = {
        node: [(a["names"], a["tail"]) for v, a in one.asked if v == "follow"]
        for node, one in stage.nodes.items()
    }
    assert tails == {"n1": [(["prefill-0"], 200)], "n2": [(["decode-0", "decode-1"], 20_000)]}


def test_what_an_engine_says_that_fails_or_serves_is_no_news():
    assert notes(DplaunchError, **{"decode-1": [*says(CAUSE), GONE]}) == []
    assert notes(NotReadyError, **{"decode-0": [], "decode-1": [*says(CAUSE), READY]}) == []


def test_calm_lines_that_quote_an_error_are_none():
    calm = "INFO 04-25 10:01:17 [x.py:1] non-default args: {'kv_load_failure_policy': 'fail'}"
    assert notes(NotReadyError, **{"decode-1": says(calm)}) == []
