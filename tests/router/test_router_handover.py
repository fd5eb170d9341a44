"""A router takes over from the one that runs: its sockets, and not one client is refused, reset or cut."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import threading
from pathlib import Path

import pytest

from dplaunch.router.handover import Giver, add_listeners, open_listeners, take_listeners

ONE_EACH = {"prefill/0": 1, "decode/0": 1}


class Load:
    """Clients that ask all the time: some on new connections, some on kept ones. ``failures`` in words."""

    def __init__(self, c, new=6, kept=3) -> None:
        self.c = c
        self.answers, self.failures, self.running = 0, [], True
        closing = {"Connection": "close"}
        headers = [closing] * new + [None] * kept
        self.tasks = [asyncio.create_task(self._ask(one)) for one in headers]

    async def _ask(self, headers):
        while self.running:
            try:
                status = (await self.c.post(headers=headers, stream=True))[0]
            except OSError as error:
                self.failures.append(repr(error))
            else:
                self.failures += [] if status == 200 else [f"status {status}"]
            self.answers += 1

    async def more(self, count):
        """Wait for so many answers more."""
        wanted = self.answers + count
        await self.c.until(lambda: self.answers >= wanted)

    async def end(self):
        self.running = False
        await asyncio.gather(*self.tasks)


async def begin_streams(c, count):
    """Streams that stop after their first event, until the gate of the decode engine opens."""
    c["decode-0"].acts.extend(["gate"] * count)
    streams = [asyncio.create_task(c.post(stream=True)) for _ in range(count)]
    await c.until(lambda: c["decode-0"].streaming == count)
    return streams


def accept_all(listener):
    """How many connections wait in its queue."""
    listener.setblocking(False)
    accepted = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            accepted += 1
    return accepted


def gone(running):
    return running.process.poll() is not None


@pytest.fixture
def pair(start, tmp_path):
    """``pair(first, second)``: two routers' flags; starts the first, and ``succeed`` the one after it."""

    class Pair:
        def __init__(self, workers, workers_later) -> None:
            self.ready = tmp_path / "ready"
            self.flags = ["--handover", str(tmp_path / "handover.sock"), "--health-interval", "0.1"]
            self.later = str(workers_later)
            self.first = start("--port", "0", "--workers", str(workers), *self.flags)
            self.second = None

        @property
        def port(self):
            return self.first.listening()[0][0]

        def succeed(self, *more: str):
            flags = ["--port", str(self.port), "--workers", self.later, *self.flags, *more]
            self.ready.unlink(missing_ok=True)
            self.second = start(*flags, DPLAUNCH_TAKES_OVER=str(self.ready))

    return Pair


async def up(c, routers):
    await c.until(routers.first.listening)
    await c.until(lambda: Path(routers.flags[1]).exists())
    c.url = f"http://127.0.0.1:{routers.port}"


@pytest.mark.parametrize(("workers", "later"), [(1, 1), (2, 3), (3, 1)])
def test_no_client_is_refused_reset_or_cut_while_a_router_takes_over(run, pair, chunks, workers, later):
    routers = pair(workers, later)

    async def scenario(c):
        await up(c, routers)
        streams = await begin_streams(c, 3)
        load = Load(c)
        await load.more(50)
        routers.succeed()
        await c.until(routers.ready.exists)
        routers.first.process.send_signal(signal.SIGUSR1)
        await c.until(lambda: routers.first.log.read_text().count("has taken over") == workers)
        await load.more(200)
        assert not gone(routers.first), "its streams are still open"
        c["decode-0"].gate.set()
        assert [(await stream)[2] for stream in streams] == [b"".join(chunks)] * 3
        await c.until(lambda: gone(routers.first))
        await load.more(50)
        await load.end()
        assert load.failures == []

    run(scenario, ONE_EACH)
    assert routers.first.process.returncode == 0
    assert routers.second.end() == 0


def test_a_router_that_does_not_come_up_leaves_the_one_that_runs_as_it_was(run, pair, tmp_path):
    routers = pair(1, 1)

    async def scenario(c):
        await up(c, routers)
        load = Load(c)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            document = json.loads(c.path.read_text())
            document["members"][0]["url"] = url
            (tmp_path / "other.json").write_text(json.dumps(document))
            routers.succeed("--members", str(tmp_path / "other.json"), "--health-timeout", "30")
            await c.until(lambda: select.select([silent], [], [], 0)[0])
            routers.second.process.kill()
            await load.more(200)
            await load.end()
        assert not gone(routers.first)
        assert "listening" not in routers.second.log.read_text()
        assert load.failures == []

    run(scenario, ONE_EACH)
    assert routers.first.end() == 0


def test_what_is_left_of_the_older_router_ends_on_sigterm(run, pair):
    routers = pair(1, 1)

    async def scenario(c):
        await up(c, routers)
        await begin_streams(c, 1)
        routers.first.process.send_signal(signal.SIGUSR1)
        await c.until(lambda: "has taken over" in routers.first.log.read_text())
        routers.first.process.terminate()
        await c.until(lambda: "stopping" in routers.first.log.read_text())
        c["decode-0"].gate.set()
        await c.until(lambda: gone(routers.first))

    run(scenario, ONE_EACH)


def test_a_callback_for_the_older_router_reaches_it_through_the_new_one(run, pair, chunks):
    routers = pair(1, 1)

    async def scenario(c):
        await up(c, routers)
        c["decode-0"].acts.append("silent")
        waiting = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: c["decode-0"].seen)
        routers.succeed()
        await c.until(routers.ready.exists)
        routers.first.process.send_signal(signal.SIGUSR1)
        await c.until(lambda: "has taken over" in routers.first.log.read_text())
        c["decode-0"].gate.set()
        assert (await waiting)[2] == b"".join(chunks)
        assert c["decode-0"].called_back == [200, 200]
        await c.until(lambda: gone(routers.first))

    run(scenario, ONE_EACH, flow="push")


def test_it_accepts_nothing_before_it_knows_its_engines(run, start):
    async def scenario(c):
        for engine in c.engines:
            engine.state = "proving"
        c.write_members()
        running = start("--port", "0", "--health-interval", "0.1")
        await c.until(running.listening)
        c.url = f"http://127.0.0.1:{running.listening()[0][0]}"
        assert (await c.get("/health"))[0] == 200
        assert running.end() == 0

    run(scenario, ONE_EACH)


def test_a_worker_that_dies_loses_no_client_that_comes_meanwhile(run, pair):
    routers = pair(1, 1)

    async def scenario(c):
        await up(c, routers)
        os.kill(routers.first.listening()[0][1], signal.SIGKILL)
        assert [(await c.post(headers={"Connection": "close"}))[0] for _ in range(3)] == [200] * 3

    run(scenario, ONE_EACH)
    assert routers.first.end() == 0


@contextlib.contextmanager
def giving(path, listeners):
    """Somebody who hands over once."""
    giver = Giver(path, listeners)
    thread = threading.Thread(target=giver.give)
    thread.start()
    yield giver
    thread.join(10)
    giver.close()


def test_connections_that_wait_in_a_queue_are_there_for_whoever_took_the_sockets(tmp_path):
    path = str(tmp_path / ("long" * 20) / "handover.sock")
    Path(path).parent.mkdir()
    listeners = open_listeners("127.0.0.1", 0, 2)
    address = listeners[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(8)]
    with giving(path, listeners):
        taken = take_listeners(path, *address)
    for one in listeners:
        one.close()
    assert sum(map(accept_all, taken)) == len(clients)
    more = add_listeners(taken, *address, 3)
    assert (len(more), {one.getsockname() for one in more}) == (3, {address})
    for one in (*clients, *more):
        one.close()


def test_sockets_of_another_address_are_not_taken_and_nobody_gives_none(tmp_path):
    path = str(tmp_path / "handover.sock")
    assert take_listeners(path, "127.0.0.1", 1) == []
    listeners = open_listeners("127.0.0.1", 0, 1)
    with giving(path, listeners):
        assert take_listeners(path, "127.0.0.2", listeners[0].getsockname()[1]) == []
    assert take_listeners(path, *listeners[0].getsockname()) == []
    listeners[0].close()


def test_a_port_of_somebody_else_is_taken_even_if_it_is_shared():
    (shared,) = open_listeners("127.0.0.1", 0, 1)
    with pytest.raises(OSError, match="in use"):
        open_listeners("127.0.0.1", shared.getsockname()[1], 1)
    shared.close()
