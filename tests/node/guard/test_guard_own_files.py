"""Log files that a process writes itself: the newest match, rotation and truncation noticed."""

import os

import pytest

from dplaunch.node.guard.lines import Cursor
from dplaunch.node.guard.own_file import OwnFile


def lines(cursor, **how):
    found = []
    while (chunk := cursor.next(**how)) is not None:
        found += chunk.lines
    return found


def write(path, text, at=None):
    with path.open("a") as file:
        file.write(text)
    if at is not None:
        os.utime(path, (at, at))


@pytest.fixture
def app(tmp_path):
    return tmp_path / "app.log"


def test_a_file_is_read_when_it_appears(tmp_path, app):
    cursor = Cursor(OwnFile(str(app)), 0)
    assert lines(cursor) == []
    write(app, "a\nhal")
    assert lines(cursor) == ["a"]
    write(app, "f\n")
    assert lines(cursor) == ["half"]


def test_rotation_loses_no_line(tmp_path, app):
    write(app, "a\n")
    cursor = Cursor(OwnFile(str(app)), 0)
    assert lines(cursor) == ["a"]
    write(app, "b\nc\n")
    app.rename(tmp_path / "app.log.1")
    assert lines(cursor) == ["b", "c"]
    assert lines(cursor) == []
    assert cursor.runs == 0, "there is no new file yet"
    write(app, "d\n")
    assert lines(cursor) == ["d"]
    assert (cursor.runs, cursor.offset) == (1, 2)


def test_rotation_of_a_glob_is_noticed_too(tmp_path, app):
    write(app, "a\n", at=100)
    cursor = Cursor(OwnFile(str(tmp_path / "app.log*")), 0)
    assert lines(cursor) == ["a"]
    write(app, "b\n", at=200)
    app.rename(tmp_path / "app.log.1")
    write(app, "c\n", at=200)
    assert lines(cursor) == ["b", "c"]
    assert cursor.runs == 1


def test_a_file_that_became_shorter_is_read_from_its_beginning(app):
    write(app, "one\ntwo\n")
    cursor = Cursor(OwnFile(str(app)), 0)
    assert lines(cursor) == ["one", "two"]
    app.write_text("3\n")
    assert lines(cursor) == ["3"]
    assert cursor.runs == 1


def test_the_newest_match_is_read_and_a_newer_one_takes_its_place(tmp_path):
    write(tmp_path / "w-1.log", "old\n", at=100)
    write(tmp_path / "w-2.log", "new\n", at=200)
    (tmp_path / "w-9.log").mkdir()
    cursor = Cursor(OwnFile(str(tmp_path / "w-*.log")), 0)
    assert lines(cursor) == ["new"]
    write(tmp_path / "w-2.log", "rest\n", at=300)
    write(tmp_path / "w-3.log", "newer\n", at=400)
    assert lines(cursor) == ["rest", "newer"]
    assert cursor.runs == 1


def test_files_that_grow_in_turn_do_not_take_each_others_place(tmp_path):
    first, second = tmp_path / "w-1.log", tmp_path / "w-2.log"
    write(first, "a\n", at=100)
    write(second, "b\n", at=200)
    cursor = Cursor(OwnFile(str(tmp_path / "*.log")), 0)
    assert lines(cursor) == ["b"]
    for at in (300, 500):
        write(first, "c\n", at=at)
        write(second, "d\n", at=at + 100)
        assert lines(cursor) == ["d"]
    assert cursor.runs == 0


def test_a_folder_may_be_part_of_the_glob(tmp_path):
    (tmp_path / "log-1").mkdir()
    write(tmp_path / "log-1/x.log", "a\n", at=100)
    cursor = Cursor(OwnFile(str(tmp_path / "log-*/x.log")), 0)
    assert lines(cursor) == ["a"]
    write(tmp_path / "log-1/x.log", "b\n", at=150)
    (tmp_path / "log-2").mkdir()
    write(tmp_path / "log-2/x.log", "c\n", at=200)
    assert lines(cursor) == ["b", "c"]


def test_tail_and_since(app):
    write(app, "a\nb\nc\n", at=1000)
    file = OwnFile(str(app))
    file.run()
    assert (file.tail(2), file.tail(0), file.since(999), file.since(1001)) == (2, 6, 0, 6)


ROTATES = """
import logging.handlers, sys, time
handler = logging.handlers.RotatingFileHandler(sys.argv[1], maxBytes=2000, backupCount=50)
log = logging.getLogger()
log.addHandler(handler)
for number in range(300):
    log.warning("line %04d of the engine's own log", number)
    if number % 30 == 0:
        time.sleep(0.2)
print("written", flush=True)
time.sleep(60)
"""


def test_a_log_that_the_process_rotates_itself_is_followed(client, spec, script, streams, until):
    (client.root / "log").mkdir(parents=True)
    logs = [{"name": "engine", "path": "log/engine.log"}, {"name": "none", "path": "log/none-*.log"}]
    argv = [*script(ROTATES), str(client.root / "log/engine.log")]
    client.start(spec("e-0", *argv, logs=logs))
    assert client.observe("e-0")["logs"] == logs
    wanted = [*streams("e-0"), *streams("e-0", file="engine"), *streams("e-0", file="none")]
    number = client.send("follow", streams=wanted, follow=True)
    until(lambda: client.events("log", file=""), 30)

    def seen():
        return [line for event in client.events("log", name="e-0", file="engine") for line in event["lines"]]

    until(lambda: len(seen()) == 300)
    assert seen() == [f"line {number:04d} of the engine's own log" for number in range(300)]
    assert client.events("restarted", name="e-0", file="engine")
    client.ask("cancel", target=number)
    offsets = {one["file"]: one["offset"] for one in client.reply(number)["offsets"]}
    end = (client.root / "log/engine.log").stat().st_size
    assert offsets == {"": len("written\n"), "engine": end, "none": 0}
    again = client.ask("follow", streams=streams("e-0", file="engine", offset=end))
    assert again["offsets"] == streams("e-0", file="engine", offset=end)
    client.stop("e-0")


def test_follow_reads_the_tail_of_an_own_file_and_ends(client, spec, streams, until):
    logs = [{"name": "engine", "path": "*.log"}]
    client.start(spec("e-0", "sh", "-c", "printf 'a\\nb\\nc' > own.log; exit 2", logs=logs))
    until(lambda: client.observe("e-0")["ended_at"])
    reply = client.ask("follow", streams=streams("e-0", file="engine"), tail=2)
    assert [line for event in client.events("log", file="engine") for line in event["lines"]] == ["b", "c"]
    assert reply["offsets"] == streams("e-0", file="engine", offset=5)
    client.send("follow", streams=streams("e-0", file="engine"), follow=True, tail=0)
    (ended,) = until(lambda: client.events("ended", file="engine"))
    assert (ended["name"], ended["code"], ended["state"]) == ("e-0", 2, "exited")


@pytest.mark.parametrize("fields", [{"file": "unknown"}, {"file": "engine", "previous": True}])
def test_a_log_that_is_not_known_has_no_lines(client, spec, streams, fields):
    client.start(
        spec("e-0", "sh", "-c", "echo a > own.log; sleep 60", logs=[{"name": "engine", "path": "own.log"}])
    )
    previous = fields.pop("previous", False)
    reply = client.ask("follow", streams=streams("e-0", **fields), previous=previous)
    assert reply["offsets"] == ([] if previous else streams("e-0", **fields, offset=0))
    assert client.events("log") == []


@pytest.mark.parametrize("path", ["/var/log/x", "../x.log", ""])
def test_an_own_file_lies_in_the_node_folder(client, spec, path):
    (result,) = client.start(spec("e-0", "true", logs=[{"name": "engine", "path": path}]))
    assert result["error"]["kind"] == "request"
