"""Connections to engines: kept, reused, broken, refused, silent. The engines here are raw sockets."""

import asyncio
import contextlib
import resource
import time

import pytest

from dplaunch.router.link import BrokenError, ExhaustedError, Pool, StuckError, TooLateError
from dplaunch.router.worker import new_loop

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def with_engine(answers, scenario):
    """``scenario(pool, address, connections)``: each request gets the next of ``answers``; None closes."""

    async def whole():
        connections = []
        left = list(answers)

        async def serve(reader, writer):
            connections.append(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    answer = left.pop(0)
                    if answer is not None:
                        writer.write(answer)
                        await writer.drain()
                    if answer is None or not answer.endswith(b"ok"):
                        writer.close()
                        return

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = Pool(connect_timeout=1)
        try:
            await scenario(pool, server.sockets[0].getsockname(), connections)
        finally:
            pool.close()
            server.close()

    loop = new_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(whole(), 10))
    finally:
        loop.close()


async def ask(pool, address, deadline=None):
    link = await pool.take(address, deadline)
    try:
        link.send("GET", [b"GET / HTTP/1.1\r\n\r\n"], deadline)
        await link.head()
        parts = []
        while part := await link.read():
            parts.append(part)
        return b"".join(parts)
    finally:
        pool.give(address, link)


def test_a_connection_is_used_again_after_a_whole_answer():
    async def scenario(pool, address, connections):
        assert [await ask(pool, address) for _ in range(3)] == [b"ok"] * 3
        assert len(connections) == 1

    with_engine([OK] * 3, scenario)


def test_a_connection_the_engine_closed_while_idle_is_not_used():
    async def scenario(pool, address, connections):
        await ask(pool, address)
        link = await pool.take(address, None)
        pool.give(address, link)
        connections[0].close()
        end = time.monotonic() + 5
        while link.usable:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        assert await ask(pool, address) == b"ok"
        assert len(connections) == 2

    with_engine([OK] * 2, scenario)


def test_a_connection_idle_for_longer_than_engines_keep_it_is_closed():
    async def scenario(pool, address, connections):
        await ask(pool, address)
        link = await pool.take(address, None)
        pool.give(address, link)
        link.idle_since -= 5
        await ask(pool, address)
        assert len(connections) == 2
        assert not link.usable

    with_engine([OK] * 2, scenario)


def test_two_requests_at_once_get_a_connection_each():
    async def scenario(pool, address, connections):
        assert await asyncio.gather(ask(pool, address), ask(pool, address)) == [b"ok", b"ok"]
        assert len(connections) == 2

    with_engine([OK] * 2, scenario)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nCont",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_an_answer_that_breaks_off_or_is_none_is_an_error(answer):
    async def scenario(pool, address, connections):
        with pytest.raises(BrokenError):
            await ask(pool, address)

    with_engine([answer], scenario)


def test_an_answer_may_end_with_its_connection():
    async def scenario(pool, address, connections):
        assert await ask(pool, address) == b"all of it"

    with_engine([b"HTTP/1.1 200 OK\r\n\r\nall of it"], scenario)


def test_words_nobody_asked_for_end_the_connection():
    async def scenario(pool, address, connections):
        await ask(pool, address)
        link = await pool.take(address, None)
        pool.give(address, link)
        connections[0].write(OK)
        while link.usable:  # noqa: ASYNC110 - of a socket
            await asyncio.sleep(0.01)
        assert await ask(pool, address) == b"ok"
        assert len(connections) == 2

    with_engine([OK] * 2, scenario)


def test_a_silent_engine_is_given_up_at_the_deadline():
    async def scenario(pool, address, connections):
        began = time.monotonic()
        with pytest.raises(TooLateError):
            await ask(pool, address, began + 0.05)
        with pytest.raises(TooLateError):
            await pool.take(address, began - 1)

    with_engine([b"ok"], scenario)


def test_nobody_there_is_broken_at_once():
    async def scenario(pool, address, connections):
        with pytest.raises(BrokenError, match=r"refused|Connect call failed"):
            await ask(pool, ("127.0.0.1", 1))
        with pytest.raises(BrokenError):
            await ask(pool, ("no-such-host.invalid", 1))

    with_engine([], scenario)


def test_a_machine_without_descriptors_is_not_the_engines_fault():
    async def scenario(pool, address, connections):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(ExhaustedError):
                await pool.take(address, None)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await ask(pool, address) == b"ok"

    with_engine([OK], scenario)


def test_requests_on_an_address_are_given_up_together_and_are_known_until_then():
    async def scenario(pool, address, connections):
        assert pool.waiting(address) is None
        asking = [asyncio.create_task(ask(pool, address)) for _ in range(2)]
        while len(connections) < 2 or pool.waiting(address) is None:  # noqa: ASYNC110 - of a socket
            await asyncio.sleep(0.01)
        assert pool.waiting(address).size == len(b"GET / HTTP/1.1\r\n\r\n")
        while not pool.heard(address):  # noqa: ASYNC110 - of a socket
            await asyncio.sleep(0.01)
        pool.fail(address, "nothing moves", StuckError)
        for one in asking:
            with pytest.raises(StuckError, match="nothing moves"):
                await one
        assert await ask(pool, address) == b"ok"
        assert pool.heard(address)
        assert not pool.heard(address)
        assert pool.waiting(address) is None

    with_engine([b"HTTP/1.1 200 OK ok", b"HTTP/1.1 200 OK ok", OK], scenario)
