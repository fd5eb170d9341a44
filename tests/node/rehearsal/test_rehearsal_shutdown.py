"""An engine that is asked to end aborts, drains or hangs, as the release does that it stands for."""

import socket
import threading

import pytest


def completion(engine, answers: list) -> threading.Thread:
    """A request without stream that runs beside the test."""
    thread = threading.Thread(target=lambda: answers.append(engine.complete("a b", 100000)))
    thread.start()
    return thread


@pytest.mark.parametrize("release", ["0.18.0", "0.23.0", "0.32.0"])
def test_without_a_timeout_running_requests_are_aborted(start, until, release):
    engine = start(VERSION=release, TOKEN_MS="20").ready()
    stream, answers = engine.stream("a b", 100000), []
    thread = completion(engine, answers)
    until(lambda: engine.metric("num_requests_running") == 2)
    engine.process.terminate()
    assert stream.choices()[-1]["finish_reason"] == "abort"
    thread.join(5)
    status, body = answers[0]
    assert (status, body["choices"][0]["finish_reason"]) == (200, "abort")
    assert set(body["choices"][0]["text"].split()) <= {"a", "b"}
    assert engine.code() == 0
    text = "Aborting 2 requests" if release == "0.18.0" else "aborting in-flight requests count=2"
    assert text in engine.log


@pytest.mark.parametrize("release", ["0.18.0", "0.23.0", "0.32.0"])
def test_with_a_timeout_running_requests_are_finished(start, release):
    engine = start("--shutdown-timeout", "30", VERSION=release, TOKEN_MS="10").ready()
    stream = engine.stream("a b", 30)
    engine.process.terminate()
    choices = stream.choices()
    assert (len(choices), choices[-1]["finish_reason"]) == (30, "length")
    assert engine.code() == 0
    assert "1 in-flight requests" in engine.log or "in-flight requests count=1 timeout=30s" in engine.log


def test_until_0_27_the_server_listens_no_more_while_it_drains(start, until):
    engine = start("--shutdown-timeout", "30", TOKEN_MS="20").ready()
    stream = engine.stream("a", 100000)
    with socket.create_connection(("127.0.0.1", engine.port)) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).endswith(b"\r\n\r\n")
        engine.process.terminate()
        assert idle.recv(1) == b""
    until(lambda: engine.health() == 0)
    assert stream.event()
    stream.leave()
    assert engine.code() == 0


def test_from_0_28_on_the_server_refuses_completions_while_it_drains(start, until):
    engine = start("--shutdown-timeout", "30", VERSION="0.32.0", TOKEN_MS="20").ready()
    stream = engine.stream("a", 100000)
    engine.process.terminate()
    engine.logged("draining in-flight requests")
    status, body = engine.complete("b")
    assert (status, body["error"]["message"]) == (500, "cannot schedule new futures after shutdown")
    assert engine.health() == 200
    stream.leave()
    assert engine.code() == 0


def test_when_the_time_is_over_what_streams_hangs_until_its_client_leaves(start, until):
    engine = start("--shutdown-timeout", "1", TOKEN_MS="20").ready()
    stream = engine.stream("a", 100000)
    engine.process.terminate()
    engine.logged("force killing remaining process EngineCore")
    engine.logged("Waiting for connections to close. (CTRL+C to force quit)")
    assert engine.process.poll() is None
    stream.leave()
    assert engine.code() == 0


def test_before_0_18_the_server_finishes_its_answers(start):
    refused = start("--shutdown-timeout", "5", VERSION="0.13.0")
    assert refused.code() == 2
    assert "unrecognized arguments: --shutdown-timeout 5" in refused.log
    engine = start(VERSION="0.13.0", TOKEN_MS="10").ready()
    stream = engine.stream("a b", 30)
    engine.process.terminate()
    assert len(stream.choices()) == 30
    assert engine.code() == 0


@pytest.mark.parametrize("busy", [0, 1])
def test_a_group_drains_together(start_group, busy):
    engines = [engine.ready() for engine in start_group(2, "--shutdown-timeout", "30", TOKEN_MS="10")]
    stream = engines[busy].stream("a", 30)
    for engine in engines:
        engine.process.terminate()
    assert len(stream.choices()) == 30
    assert [engine.code() for engine in engines] == [0, 0]
    assert "fatal error" not in engines[0].log + engines[1].log


def test_a_request_that_waits_is_aborted_too(start, until):
    engine = start("--max-num-seqs", "1", TOKEN_MS="20").ready()
    stream, answers = engine.stream("a", 100000), []
    thread = completion(engine, answers)
    until(lambda: engine.metric("num_requests_waiting") == 1)
    engine.process.terminate()
    thread.join(5)
    assert answers[0][1]["choices"][0]["text"] == ""
    assert stream.choices()[-1]["finish_reason"] == "abort"
    assert engine.code() == 0
