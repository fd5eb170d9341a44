import os
import stat
import sys
import threading

import pytest

from dplaunch.errors import HostError
from dplaunch.transport.local import LocalHost

ECHO = [sys.executable, "-c", "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"]


@pytest.fixture
def host():
    host = LocalHost("n1", silence=5.0)
    yield host
    host.close()


def test_run_gives_code_output_and_errors(host):
    result = host.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"in", timeout=5)
    assert (result.code, result.out, result.err) == (3, b"in", "oops\n")


def test_a_signal_is_a_negative_code(host):
    assert host.run(["sh", "-c", "kill -9 $$"], timeout=5).code == -9


def test_run_that_takes_too_long_is_ended_and_named(host):
    with pytest.raises(HostError, match=r"n1 \(this machine\) did not finish `sleep` within 0.2 s"):
        host.run(["sleep", "60"], timeout=0.2)


def test_large_input_and_output_do_not_block_each_other(host):
    data = os.urandom(3_000_000)
    assert host.run(["cat"], stdin=data, timeout=10).out == data


def test_a_command_that_reads_nothing_does_not_fail_for_it(host):
    assert host.run(["true"], stdin=b"x" * 1_000_000, timeout=5).code == 0


def test_put_writes_folders_mode_and_content_by_rename(host, tmp_path):
    path = tmp_path / "a b" / "it's $HOME"
    for data in (b"one", b"two\n\0"):
        host.put(str(path), data, 0o640)
    assert path.read_bytes() == b"two\n\0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["it's $HOME"]


def test_put_says_why_it_could_not(host, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"could not write .*file/below: .*(Not a directory|exists)"):
        host.put(str(tmp_path / "file" / "below"), b"", 0o644)


def test_a_stream_answers_line_by_line_and_ends_well(host):
    stream = host.stream(ECHO)
    lines = stream.lines()
    stream.send(b"one\ntwo\n")
    assert (next(lines), next(lines)) == (b"ONE", b"TWO")
    stream.send(b"no newline")
    stream.close_stdin()
    assert list(lines) == [b"NO NEWLINE"]
    assert stream.wait(5) == 0


def test_a_large_send_does_not_wait_for_a_reader(host):
    stream = host.stream(["cat"])
    stream.send(b"x" * 2_000_000 + b"\n")
    stream.close_stdin()
    assert [len(line) for line in stream.lines()] == [2_000_000]


def test_lines_of_two_senders_stay_whole(host):
    stream = host.stream(["cat"])
    senders = [threading.Thread(target=stream.send, args=(c * 100_000 + b"\n",)) for c in (b"a", b"b")]
    for sender in senders:
        sender.start()
    lines = stream.lines()
    assert sorted({next(lines)[:1], next(lines)[:1]}) == [b"a", b"b"]
    stream.close()


def test_a_session_that_fails_raises_with_what_it_said(host):
    stream = host.stream(["sh", "-c", "echo hello; echo 'Traceback: no' >&2; exit 4"])
    lines = stream.lines()
    assert next(lines) == b"hello"
    with pytest.raises(HostError, match=r"the session on n1 .* ended with exit code 4") as caught:
        next(lines)
    assert caught.value.detail == ("Traceback: no",)
    assert stream.stderr_tail() == "Traceback: no\n"


def test_a_session_that_is_killed_says_so(host):
    stream = host.stream(["sh", "-c", "kill -9 $$"])
    with pytest.raises(HostError, match="was killed"):
        list(stream.lines())


def test_silence_is_a_lost_node():
    host = LocalHost("n1", silence=0.2)
    stream = host.stream(["sleep", "60"])
    with pytest.raises(HostError, match=r"n1 \(this machine\) has been silent for 0.2 s"):
        list(stream.lines())
    host.close()


def test_a_session_that_takes_no_input_is_a_lost_node():
    host = LocalHost("n1", silence=0.2)
    with pytest.raises(HostError, match=r"has taken no input for 0.2 s"):
        host.stream(["sleep", "60"]).send(b"x" * 1_000_000)
    host.close()


def test_close_ends_a_reader_without_an_error(host):
    stream = host.stream(["sh", "-c", "echo up; exec sleep 60"])
    lines = stream.lines()
    assert next(lines) == b"up"
    threading.Timer(0.1, stream.close).start()
    assert list(lines) == []


def test_close_lets_a_session_end_what_it_runs(host, tmp_path):
    ended = tmp_path / "ended"
    stream = host.stream(["sh", "-c", f"echo up; cat; sleep 0.5; touch {ended}"])
    assert next(stream.lines()) == b"up"
    stream.close()
    assert ended.exists()


def test_sending_after_the_end_says_how_it_ended(host):
    stream = host.stream(["sh", "-c", "exit 7"])
    stream.wait(5)
    with pytest.raises(HostError, match="exit code 7"):
        stream.send(b"hello\n")


def test_a_missing_program_is_a_sentence(host):
    with pytest.raises(HostError, match="has no python9 in a non-login shell's PATH") as caught:
        host.stream(["python9", "-c", ""])
    assert "install Python 3.8" in caught.value.hint


def test_stderr_keeps_its_last_8_kib(host):
    stream = host.stream(["sh", "-c", "yes 0123456789 | head -c 300000 >&2; echo end >&2"])
    assert list(stream.lines()) == []
    assert stream.stderr_tail().endswith("end\n")
    assert len(stream.stderr_tail()) == 8192
