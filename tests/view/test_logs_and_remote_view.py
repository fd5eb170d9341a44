from __future__ import annotations

import time
from datetime import timezone

import pytest
from plans import a_plan, a_process

from dplaunch.model.event import Stopped
from dplaunch.model.log import FoldedLine, LogLine
from dplaunch.model.remote import ExecResult
from dplaunch.model.trail import Entry, Lock, Result
from dplaunch.view import down, logs, remote, trail


def folded(text: str, *names: str, at: float = 0.0) -> FoldedLine:
    said = tuple(LogLine(process=name, node="n1", offset=0, text=text, at=at) for name in names)
    return FoldedLine(lines=said, text=text)


def test_prefixes_are_aligned_and_folded():
    printer = logs.LogPrinter(("decode-0", "decode-12", "router"))
    assert [printer.line(folded("hello", name)) for name in ("decode-0", "decode-12", "router")] == [
        "decode-0  | hello\n", "decode-12 | hello\n", "router    | hello\n",
    ]  # fmt: skip
    assert printer.line(folded("all", *(f"decode-{n}" for n in range(32)))) == "decode-[0-31] | all\n"
    assert printer.line(folded("next", "router")) == "router        | next\n"


def test_a_single_process_needs_no_prefix():
    assert logs.LogPrinter(("decode-0",), prefix=False).line(folded("hello", "decode-0")) == "hello\n"


def test_the_time_of_arrival_where_it_is_known():
    printer = logs.LogPrinter(("d-0",), times=True, zone=timezone.utc)
    assert printer.line(folded("x", "d-0", at=3661.25)) == "01:01:01.250 d-0 | x\n"
    assert printer.line(folded("x", "d-0")) == "             d-0 | x\n"


def test_a_name_has_its_colour_in_every_run():
    printer = logs.LogPrinter(("decode-0",), color=True)
    assert printer.line(folded("x", "decode-0")) == f"\x1b[{logs.color_of('decode-0')}mdecode-0 |\x1b[0m x\n"
    assert logs.color_of("decode-0") == logs.color_of("decode-0")
    assert len({logs.color_of(f"decode-{n}") for n in range(16)}) >= 5


def test_lines_cannot_steer_the_terminal():
    line = logs.LogPrinter(("d",), prefix=False).line(folded("\x1b[2Jgone\x07 10%\r20%", "d"))
    assert line == "20%\n"


def test_a_line_as_json():
    line = LogLine(process="d-0", node="n1", offset=7, text="x", at=2.0)
    assert logs.to_json(line) == {"process": "d-0", "node": "n1", "offset": 7, "at": 2.0, "text": "x"}


def test_a_flood_is_printed_fast():
    printer = logs.LogPrinter(("decode-0",), color=True, times=True)
    line = folded("INFO 09-24 20:59:57 [core.py:790] " + "x" * 200, "decode-0", at=5.0)
    before = time.process_time()
    for _ in range(20_000):
        printer.line(line)
    assert time.process_time() - before < 1.0


def test_equal_answers_are_one_block_and_failures_come_first(golden):
    results = [ExecResult(node=f"n{n}", code=0, out="Linux 5.10\n") for n in range(1, 7)]
    results += [
        ExecResult(node="n7", code=0, out="Linux 6.1\n"),
        ExecResult(node="n8", code=127, err="bash: foo: not found\n"),
        ExecResult(node="n9", problem="n9 refused the connection"),
        ExecResult(node="n10", problem="n10 refused the connection"),
    ]
    golden("exec", remote.render(results).plain)


def test_answers_as_json():
    value = remote.to_json([ExecResult(node="n1", code=0, out="x")])
    assert value == {"results": [{"node": "n1", "code": 0, "out": "x", "err": "", "problem": None}]}


def stopped(name: str, how: str = "TERM", left: tuple[str, ...] = ()) -> Stopped:
    return Stopped(at=9.0, process=name, node="n5", seconds=3.1, how=how, left=left)


PLAN = a_plan(a_process("router", "n1"), a_process("prefill-0", "n3"), a_process("prefill-1", "n4"))
ALL = (stopped("router"), *(stopped(f"decode-{n}", "KILL" if n in (3, 4) else "TERM") for n in range(64)))


def test_down_folds_what_it_freed(golden):
    golden("down", down.render(PLAN, ALL, ()).plain)


def test_down_names_what_is_left_and_whom_it_could_not_ask(golden):
    left = stopped("decode-64", "", ("pid 812 (python3 -m vllm)", "port 9015 held by pid 812 (python3)"))
    golden("down-incomplete", down.render(PLAN, (*ALL, left), ("n3", "n4")).plain)


def test_down_of_nothing(golden):
    golden("down-of-nothing", down.render(PLAN, (), ()).plain)
    golden("down-of-nothing-known-there", down.render(PLAN, ALL, ("n9",)).plain)
    golden("down-of-nothing-reached", down.render(PLAN, (), ("n3",)).plain)
    golden("down-of-nothing-with-a-rest", down.render(PLAN, (), (), ("n3",)).plain)


@pytest.mark.parametrize(
    ("verdicts", "unreached", "clean"),
    [(ALL, (), True), (ALL, ("n3",), False), ((stopped("router", left=("pid 8 (x)",)),), (), False)],
)
def test_down_as_json(verdicts, unreached, clean):
    value = down.to_json(verdicts, unreached)
    assert (value["clean"], value["kept"]) == (clean, [])
    assert not down.to_json(verdicts, unreached, ("n5",))["clean"]
    assert value["stopped"][0] == {
        "name": "router", "node": "n5", "how": "TERM", "seconds": 3.1, "left": list(verdicts[0].left),
    }  # fmt: skip


TRAIL = (
    Entry(at=0.5, who="bo@ops2", verb="down", result=Result.STOPPED, revision="77aa"),
    Entry(at=50.0, who="anna@ops1", verb="up", result=Result.BEGAN, revision="3f9a"),
    Entry(
        at=100.0, who="anna@ops1", verb="up", result=Result.READY, revision="3f9a", started=72,
        phases={"load": 60.0, "prove": 5.25},
    ),
    Entry(at=160.0, who="anna@ops1", verb="test", result=Result.FAILED, reason="decode-2 on n5 answered nonsense"),
    Entry(
        at=200.0, who="bo@ops2", verb="restart", result=Result.READY, revision="3f9a", started=1, phases={"load": 4.0},
        unproved="decode-2 on n5 answered nonsense",
    ),
    Entry(at=0.0, who="?", verb="?", result=Result.INCOMPLETE),
)  # fmt: skip


def test_the_audit_trail_is_a_table_oldest_first(draw, golden):
    golden("audit", draw(trail.render_audit(TRAIL, zone=timezone.utc), 100))
    golden("audit-of-nothing", draw(trail.render_audit(())))


def test_the_audit_trail_as_json(golden):
    golden("audit", trail.audit_json(TRAIL[2:4]))
    assert len(trail.audit_json(TRAIL)["entries"]) == len(TRAIL)


@pytest.mark.parametrize("result", Result, ids=lambda result: result.value)
def test_every_result_is_a_word_in_table_and_json(draw, result):
    entry = Entry(at=1.0, who="anna", verb="up", result=result)
    assert f"up    {result.value}" in draw(trail.render_audit([entry], zone=timezone.utc))
    assert trail.audit_json([entry])["entries"][0]["result"] == result.value


def test_names_from_the_trail_cannot_steer_the_terminal(draw):
    entry = Entry(at=1.0, who="\x1b[2Janna", verb="up", result=Result.FAILED, reason="\x1b[1mx")
    assert "\x1b" not in draw(trail.render_audit([entry]))


LOCK = Lock(holder="anna@ops1", verb="up", since=100.0)


def test_who_holds_the_lock(golden):
    golden("lock", trail.render_lock("n1", LOCK, zone=timezone.utc).plain)
    golden("lock-free", trail.render_lock("n1", None).plain)


def test_the_lock_as_json(golden):
    golden("lock", trail.lock_json("n1", LOCK))
    assert trail.lock_json("n1", None) == {"node": "n1", "lock": None}
