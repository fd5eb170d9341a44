import threading

import pytest

from dplaunch.errors import HostError
from dplaunch.transport.local import LocalHost


@pytest.fixture
def host():
    host = LocalHost("n1", silence=5.0)
    yield host
    host.close()


def test_a_stream_answers_line_by_line_and_ends_well(host):
    stream = host.stream(["sh", "-c", 'read a; echo "<$a>"; read b; printf "<%s>\\nno newline" "$b"'])
    lines = stream.lines()
    stream.send(b"one\n")
    assert next(lines) == b"<one>"
    stream.send(b"two\n")
    assert list(lines) == [b"<two>", b"no newline"]


def test_a_large_send_does_not_wait_for_a_reader(host):
    stream = host.stream(["head", "-n", "1"])
    stream.send(b"x" * 2_000_000 + b"\n")
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


@pytest.mark.parametrize("pause", ["", "sleep 0.05; "])
def test_what_a_program_that_ends_at_once_printed_is_the_reason(host, pause):
    stream = host.stream(["sh", "-c", f"{pause}echo 'No such thing: nope' >&2; exit 3"])
    with pytest.raises(HostError, match="ended with exit code 3: No such thing: nope"):
        stream.send(b"x" * (8 << 20))


def test_sending_after_the_end_says_how_it_ended(host):
    stream = host.stream(["sh", "-c", "exit 7"])
    with pytest.raises(HostError, match="exit code 7"):
        list(stream.lines())
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
