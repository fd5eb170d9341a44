"""The router as the launcher starts it: uploaded under its own name, with workers, stopped by signals."""

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def ask(port, path, host="127.0.0.1"):
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_alone_in_a_folder_it_serves_503_without_members_and_ends_with_0(start, until):
    running = start("--port", "0")
    ((port, pid),) = until(running.listening)
    assert pid != running.process.pid
    status, body = ask(port, "/health")
    assert status == 503
    assert "No such file" in json.loads(body)["reasons"][0]
    assert running.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_listens_on_the_address_that_it_is_given_and_no_other(start, until, workers):
    running = start("--port", "0", "--workers", workers, host="127.0.0.2")
    port, _ = until(running.listening)[0]
    assert ask(port, "/health", "127.0.0.2")[0] == 503
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(port, "/health", "127.0.0.1")


def test_a_taken_port_is_one_sentence_and_exit_1(start, until):
    first = start("--port", "0", "--workers", "2")
    until(lambda: len(first.listening()) == 2)
    port = first.listening()[0][0]
    second = start("--port", str(port), "--workers", "2")
    assert second.process.wait(10) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in second.log.read_text()
    assert first.end(signal.SIGINT) == 0


def test_workers_share_the_port_are_replaced_when_they_die_and_go_with_their_parent(start, until):
    running = start("--port", "0", "--workers", "2")
    until(lambda: len(running.listening()) == 2)
    assert len({port for port, _ in running.listening()}) == 1
    port, victim = running.listening()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(running.listening()) == 3)
    assert ask(port, "/metrics")[0] == 200
    running.process.kill()
    running.process.wait()
    until(lambda: all(not Path(f"/proc/{pid}").exists() for _, pid in running.listening()))


def test_a_worker_that_stands_still_is_ended_and_started_again(start, until):
    running = start("--port", "0", "--workers", "2", "--worker-timeout", "1.5")
    until(lambda: len(running.listening()) == 2)
    _, victim = running.listening()[0]
    os.kill(victim, signal.SIGSTOP)
    until(lambda: len(running.listening()) == 3, 20)
    assert not Path(f"/proc/{victim}").exists()
    assert running.end() == 0


def test_it_may_open_as_many_files_as_the_machine_lets_it(start, until):
    running = start("--port", "0")
    until(running.listening)
    limits = Path(f"/proc/{running.process.pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert int(soft) == min(int(hard), 1 << 20)


def test_each_worker_answers_and_their_metrics_add_up(run, start, until, tmp_path):
    running = start("--port", "0", "--workers", "2", "--health-interval", "0.1")
    until(lambda: len(running.listening()) == 2)
    url = f"http://127.0.0.1:{running.listening()[0][0]}"

    async def scenario(c):
        c.url = url
        # A worker that has not asked its engines yet says 503: 200 must come, whoever answers.
        statuses = []
        while statuses[-12:] != [200] * 12:
            statuses.append((await c.post(headers={"Connection": "close"}))[0])
        assert set(statuses) <= {200, 503}
        while await c.counter("dprouter_requests_total") != len(statuses):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)

    run(scenario)
    assert running.end() == 0


def test_a_decode_engine_calls_back_at_whichever_worker_the_kernel_chooses(run, start, until):
    running = start("--port", "0", "--workers", "2", "--health-interval", "0.1")
    until(lambda: len(running.listening()) == 2)

    async def scenario(c):
        c.url = f"http://127.0.0.1:{running.listening()[0][0]}"
        statuses = []
        while statuses[-16:] != [200] * 16:  # each on a connection of its own, as is each callback
            statuses.append((await c.post(headers={"Connection": "close"}))[0])
        assert set(statuses) <= {200, 503}
        assert {status for engine in c.role("decode") for status in engine.called_back} == {200}

    run(scenario, {"prefill/0": 1, "decode/0": 1}, flow="push")


def test_after_sigterm_a_stream_is_finished_within_the_grace(run, start, until, chunks):
    running = start("--port", "0", "--health-interval", "0.1", "--grace", "5")
    ((port, _),) = until(running.listening)

    async def scenario(c):
        c.url = f"http://127.0.0.1:{port}"
        while (await c.get("/health"))[0] != 200:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
        for engine in c.role("decode"):
            engine.acts.append("gate")
        stream = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: sum(engine.streaming for engine in c.role("decode")))
        running.process.terminate()
        await c.until(lambda: "stopping" in running.log.read_text())
        for engine in c.role("decode"):
            engine.gate.set()
        assert (await stream)[2] == b"".join(chunks)

    run(scenario)
    assert running.process.wait(10) == 0
