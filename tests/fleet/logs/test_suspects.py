"""What is reported of logs while engines load: the line that explains why they may never serve."""

import pytest
from nodes import SILENT, Ending, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, NotReadyError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
WAITS = "ERROR 04-25 10:01:30 [x.py:1] EI0006: Getting socket times out. Reason: the remote did not answer"
CAUSE = "ERROR 04-25 10:01:17 [x.py:1] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
BOTH = {"decode-0": SILENT, "decode-1": SILENT}


def brought_up(error, *nodes: Node):
    stage = Scene(a_plan(*ENGINES), *nodes)
    with pytest.raises(error):
        up(stage.job, ChangeOptions(timeout=60.0), lambda *_: True)
    return stage


def notes(*, ready=(), **logs):
    """What is noted when these engines do not become ready within a minute."""
    by_name = {name.replace("_", "-"): lines for name, lines in logs.items()}
    health = {name: how for name, how in BOTH.items() if name not in ready}
    return brought_up(NotReadyError, Node("n2", logs=by_name, health=health)).notes


def test_the_line_that_explains_it_is_reported_once_with_what_to_do():
    [note] = notes(decode_0=[WAITS], decode_1=[CAUSE, CAUSE])
    assert note.startswith("decode-1")
    assert "NPU out of memory" in note
    assert note.endswith("run `dplaunch diagnose` for details")


def test_where_all_only_wait_for_another_it_is_named():
    [note] = notes(decode_0=[WAITS])
    assert note.startswith("decode-0")
    assert "log of decode-1 shows no error: look there first" in note


def test_an_error_without_a_signature_is_reported_too():
    [note] = notes(decode_1=["ERROR 04-25 10:01:17 [x.py:1] the moon is wrong"])
    assert "the moon is wrong; `dplaunch logs decode-1`" in note


def test_a_harmless_line_hides_no_later_one():
    harmless = "ERROR 04-25 10:01:17 [x.py:1] a plugin could not be loaded"
    first, second = notes(decode_0=[harmless], decode_1=[harmless.replace("a plugin", "shard 7")])
    assert "a plugin" in first
    assert "shard 7" in second


def test_logs_that_hold_an_error_are_read_nearly_whole_after_a_failure():
    n2 = Node("n2", logs={"decode-0": [WAITS]}, health=BOTH, ends={"decode-1": Ending(code=1)})
    stage = brought_up(DplaunchError, n2)
    follows = stage.calls("follow")
    assert [(node, [one.process for one in sources], query.tail) for node, sources, query in follows] == [
        ("n2", ["decode-0", "decode-1"], 20_000),
        ("n1", ["prefill-0"], 200),
    ]


def test_lines_of_an_engine_that_fails_or_serves_are_no_news():
    n2 = Node("n2", logs={"decode-1": [CAUSE, "boom"]}, health=BOTH, ends={"decode-1": Ending(code=1)})
    assert brought_up(DplaunchError, n2).notes == []
    assert notes(ready=("decode-1",), decode_1=[CAUSE]) == []


def test_calm_lines_that_quote_an_error_are_none():
    assert notes(decode_1=["INFO 04-25 10:01:17 [x.py:1] args: {'kv_load_failure_policy': 'fail'}"]) == []
