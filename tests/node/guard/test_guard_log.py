"""Logs: bounded without loss, read by offset, found by time, cut where a line has no end."""

import json
import sys

import pytest

from dplaunch.node.guard.bound import Bound
from dplaunch.node.guard.lines import Cursor, read_last_lines
from dplaunch.node.guard.log import LINE, Log, begin_run

MIB = 1 << 20


def drain(cursor, **how):
    found = []
    while (chunk := cursor.next(**how)) is not None:
        found.append(chunk)
    return found


def lines_of(chunks):
    return [line for chunk in chunks for line in chunk.lines]


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").touch()
    return Log(str(tmp_path))


@pytest.fixture
def write(log):
    def append(text):
        with open(log.path, "ab") as file:  # noqa: PTH123 - the path is the log's own
            file.write(text if isinstance(text, bytes) else text.encode())

    return append


def test_only_whole_lines_are_read_until_the_end(log, write):
    write("a\nb\nhal")
    cursor = Cursor(log, 0)
    (chunk,) = drain(cursor)
    assert (chunk.offset, chunk.end, chunk.lines, chunk.lost) == (0, 4, ["a", "b"], 0)
    write("f\n")
    assert lines_of(drain(cursor)) == ["half"]
    write("last")
    assert drain(cursor) == []
    assert lines_of(drain(cursor, ended=True)) == ["last"]


def test_bytes_that_are_no_text_and_carriage_returns(log, write):
    write(b"\xff\xfe\n\r 50%\r\n\n")
    assert lines_of(drain(Cursor(log, 0))) == ["\ufffd\ufffd", " 50%", ""]


def test_a_line_without_end_comes_in_pieces(log, write):
    write(b"x" * (2 * LINE + 10))
    cursor = Cursor(log, 0)
    assert [len(c.lines[0]) for c in drain(cursor)] == [LINE, LINE]
    write("\nnext\n")
    assert lines_of(drain(cursor)) == ["x" * 10, "next"]


@pytest.mark.parametrize("count", [0, 1, 3, 999, 2000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_tail_is_the_last_lines(log, write, count, end):
    lines = [f"line {n} {'x' * (n % 300)}" for n in range(1000)]
    write("\n".join(lines) + end)
    found = lines_of(drain(Cursor(log, log.tail(count)), ended=True))
    assert found == (lines[-count:] if count else [])
    assert read_last_lines(log, 3) == lines[-3:]


def bounded(log, write, size, *, limit=MIB, keep=256 << 10):
    """``size`` bytes of numbered lines, the guard looking after every piece."""
    bound = Bound(log.folder, limit, keep)
    number = 0
    while log.size() < size:
        write("".join(f"{n:09d} {'y' * 90}\n" for n in range(number, number + 1000)))
        number += 1000
        bound.tend()
    return bound, number


def test_a_bounded_log_is_read_whole_from_any_offset(log, write, tmp_path):
    bound, count = bounded(log, write, 3 * MIB)
    assert bound.unbounded == ""
    assert log.parts()[0][0] == 0
    assert log.base() > MIB
    assert (tmp_path / "log").stat().st_blocks * 512 <= 2 * MIB
    found = lines_of(drain(Cursor(log, 0)))
    assert [int(line[:9]) for line in found] == list(range(count))
    assert {len(line) for line in found} == {100}
    middle = found[12345]
    assert lines_of(drain(Cursor(log, 12345 * 101)))[0] == middle
    assert lines_of(drain(Cursor(log, log.tail(20000))))[0] == found[-20000]


def test_old_parts_go_and_their_loss_is_told(log, write, tmp_path):
    _, count = bounded(log, write, 6 * MIB)
    disk = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())
    assert disk < 5 * MIB, "the limit, three parts, and what came between two looks"
    first, *others = drain(Cursor(log, 101))
    assert first.lost == log.parts()[0][0] - 101
    assert not any(chunk.lost for chunk in others)
    found = lines_of([first, *others])
    assert [int(line[:9]) for line in found[1:]] == list(range(count - len(found) + 1, count))


def test_a_disk_without_room_for_a_part_still_gets_its_bytes_back(log, write, tmp_path):
    bound = Bound(log.folder, MIB, 256 << 10)
    (tmp_path / "log.0.tmp").mkdir()  # the copy cannot be made
    write(b"z" * 99 + b"\n")
    write((b"w" * 99 + b"\n") * 12000)
    bound.tend()
    assert bound.unbounded == ""
    assert (tmp_path / "log").stat().st_blocks * 512 < MIB
    (first, *_) = drain(Cursor(log, 0))
    assert first.lost == log.base() > 0


def test_a_new_run_begins_at_zero_and_the_end_of_the_old_is_not_lost(log, write, tmp_path):
    write("old 1\n")
    cursor = Cursor(log, 0)
    drain(cursor)
    write("old 2\npartial")
    begin_run(log.folder)
    write("new\n")
    assert lines_of(drain(cursor)) == ["old 2", "partial", "new"]
    assert (cursor.runs, cursor.offset) == (1, 4)
    assert lines_of(drain(Cursor(Log(log.folder, "log.prev"), 0), ended=True)) == [
        "old 1",
        "old 2",
        "partial",
    ]


def test_a_run_that_was_forgotten_is_still_the_run_before(log, write):
    write(b"first\n")
    begin_run(log.folder)  # `down` forgets it
    begin_run(log.folder)  # `up` starts anew
    assert Log(log.folder, "log.prev").size() == len(b"first\n")


def test_an_offset_of_another_run_begins_at_zero(log, write):
    write("a\n")
    assert lines_of(drain(Cursor(log, 4711))) == ["a"]


def test_since_maps_a_time_to_an_offset(log, tmp_path):
    (tmp_path / "log.idx").write_text("1000.0 0\n1010.0 500\n1020.0 900\n")
    assert [log.since(t) for t in (0, 1000, 1015, 1020, 5000)] == [0, 0, 500, 900, 900]
    (tmp_path / "log.idx").write_text("broken\n")
    assert log.since(1015) == 0


def test_the_index_grows_with_the_log(log, write):
    bound = Bound(log.folder)
    bound.tend()
    write("a\n")
    bound.tend()
    assert log.since(2**40) == 2
    write("b\n")
    bound.tend()
    assert log.since(2**40) == 2, "the next entry comes seconds later"


FLOOD = """
import sys
for n in range({count}):
    sys.stdout.write("%09d %s\\n" % (n, "q" * 90))
"""


def test_a_flood_is_followed_whole_while_it_is_bounded(client, spec, script, streams, until):
    count = 200_000  # 20 MB
    argv = script(FLOOD.format(count=count))
    client.start(spec("e-0", *argv, limits={"log": 8 * MIB, "keep": MIB}))
    number = client.send("follow", streams=streams("e-0"), follow=True)
    until(
        lambda: (e := client.events("log", name="e-0")) and e[-1]["lines"][-1].startswith(f"{count - 1:09d}"),
        20,
    )
    events = client.events("log", name="e-0")
    found = [int(line[:9]) for event in events for line in event["lines"]]
    assert found == list(range(count))
    assert [e["offset"] for e in events[1:]] == [e["end"] for e in events[:-1]]
    assert not client.events("gap")
    client.ask("cancel", target=number)
    assert client.reply(number)["offsets"] == streams("e-0", offset=count * 101)


def test_a_second_run_is_bounded_from_its_own_beginning(client, spec, script, until):
    argv = script(FLOOD.format(count=30_000))  # 3 MB
    folder = client.root / "proc/e-0"
    for _ in range(2):
        client.start(spec("e-0", *argv, limits={"log": MIB, "keep": MIB // 4}))
        until(lambda: client.observe("e-0")["ended_at"])
        log = Log(str(folder))
        assert [int(line[:9]) for line in lines_of(drain(Cursor(log, log.tail(100))))] == list(
            range(29_900, 30_000)
        )
        assert log.size() == 30_000 * 101
        assert client.observe("e-0")["notes"] == []
    assert Log(str(folder), "log.prev").size() == 30_000 * 101


def test_follow_resumes_from_an_offset_nothing_twice(clients, spec, streams, until):
    first = clients()
    first.start(spec("e-0", "sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 60"))
    first.send("follow", streams=streams("e-0"), follow=True)
    until(lambda: sum(len(e["lines"]) for e in first.events("log")) == 3)
    end = first.events("log")[-1]["end"]
    second = clients()
    with (first.root / "proc/e-0/log").open("a") as file:
        file.write("line 4\n")
    reply = second.ask("follow", streams=streams("e-0", offset=end))
    assert [e["lines"] for e in second.events("log")] == [["line 4"]]
    assert reply["offsets"] == streams("e-0", offset=end + 7)


def test_follow_with_tail_grep_since_and_previous(client, spec, streams, until):
    for word in ("old", "new"):
        client.start(spec("e-0", "sh", "-c", f"for i in 1 2 3 4; do echo {word} $i; done; printf end"))
        until(lambda: client.observe("e-0")["ended_at"])

    def lines(**fields):
        before = len(client.events("log"))
        client.ask("follow", streams=streams("e-0"), **fields)
        return [line for e in client.events("log")[before:] for line in e["lines"]]

    assert lines(tail=2) == ["new 4", "end"]
    assert lines(grep=r"\b[12]$") == ["new 1", "new 2"]
    assert lines(previous=True, tail=1) == ["end"]
    assert lines(previous=True)[0] == "old 1"
    assert len(lines(since=0)) == 5


def test_follow_continues_into_the_next_run(client, spec, streams, until):
    client.start(spec("e-0", "echo", "one"))
    client.send("follow", streams=streams("e-0"), follow=True)
    until(lambda: client.events("ended", name="e-0"))
    client.start(spec("e-0", "sh", "-c", "echo two; sleep 60"))
    until(lambda: [e["lines"] for e in client.events("log")] == [["one"], ["two"]])
    assert client.events("restarted", name="e-0")


def test_the_log_survives_its_guard(client, spec, until):
    client.start(spec("e-0", sys.executable, "-uc", "import time\nwhile True: print('x'); time.sleep(0.01)"))
    guard = client.observe("e-0")["guard_pid"]
    client.ask("exec", argv=["kill", "-9", str(guard)])
    size = until(
        lambda: client.observe("e-0")["state"] == "unguarded" and Log(str(client.root / "proc/e-0")).size()
    )
    until(lambda: Log(str(client.root / "proc/e-0")).size() > size)
    client.stop("e-0")


def test_bytes_that_are_not_text_fit_json(client, spec, streams, until):
    client.start(spec("e-0", "printf", r"\377\000\033[31m\n"))
    until(lambda: client.observe("e-0")["ended_at"])
    client.ask("follow", streams=streams("e-0"))
    assert json.dumps(client.events("log")[0]["lines"]) == json.dumps(["\ufffd\x00\x1b[31m"])
