"""What clients may send, and how much of it: encodings, versions, sizes, idle connections."""

import asyncio
import gzip
import json
import logging

import pytest

from dplaunch.router.room import FullError, Room

LAID_OUT = {"prefill/0": 1, "decode/0": 1}


async def send(c, raw, headers, path="/v1/embeddings"):
    async with c.http.post(c.url + path, data=raw, headers=headers) as answer:
        return answer.status, (await answer.read()).decode()


async def talk(c, text):
    """The answer to raw bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(c.url.rpartition(":")[2]))
    writer.write(text)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


def asked(c):
    return sum(len(engine.seen) for engine in c.engines)


def test_a_body_that_has_to_be_unpacked_is_refused_and_never_unpacked(run):
    async def scenario(c):
        packed = gzip.compress(b" " * (1 << 20) + b"{}")
        for coding in ("gzip", "deflate", "br", "GZIP, gzip"):
            status, body = await send(c, packed, {"Content-Encoding": coding}, "/v1/completions")
            assert (status, "send it as it is" in body) == (415, True)
        assert (await send(c, b"{}", {"Content-Encoding": "identity"}))[0] == 200
        assert asked(c) == 1

    run(scenario, LAID_OUT)


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b'{"a": NaN}', "application/json", 400),
        ('{"kv_transfer_params": {}}'.encode("utf-16"), "application/json", 400),
        (b"\xef\xbb\xbf{}", "application/vnd.x+json", 400),
        (b"[1]", "", 400),
        (b"\x00", "multipart/form-data; boundary=x", 200),
        (b"a=b", "application/x-www-form-urlencoded", 200),
        (b"", "application/json", 200),
    ],
)
def test_what_we_cannot_read_reaches_no_engine_that_might(run, raw, kind, status):
    async def scenario(c):
        c["decode-0"].reads_json = False
        assert (await send(c, raw, {"Content-Type": kind}))[0] == status
        assert asked(c) == (status == 200)

    run(scenario, LAID_OUT)


def test_a_body_that_can_be_read_and_not_written_again_is_the_clients_mistake(run):
    async def scenario(c):
        deep = b'{"prompt":"x","a":' + b"[" * 400 + b"]" * 400 + b"}"
        status, body = await send(c, deep, {}, "/v1/completions")
        assert (status, "cannot be written again" in body) == (400, True)
        assert asked(c) == 0

    run(scenario, LAID_OUT)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /v1/models HTTP/2.0", b"505"),
        (b"GET /v1/models HTTP/0.9", b"505"),
        (b"GET /v1/models HTTP/x", b"400"),
        (b"\x16\x03\x01\x02", b"400"),
    ],
)
def test_what_is_not_http_gets_its_status_and_a_line_in_the_log_without_a_traceback(
    run, request_line, status
):
    logged = []
    handler = logging.Handler()
    handler.emit = logged.append

    async def scenario(c):
        logging.getLogger("dprouter.http").addHandler(handler)
        answer = await talk(c, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] == status
        assert asked(c) == 0

    try:
        run(scenario, LAID_OUT)
    finally:
        logging.getLogger("dprouter.http").removeHandler(handler)
    assert len(logged) <= 1
    assert not any(record.exc_info for record in logged)


def test_a_body_whose_chunks_are_broken_is_refused(run):
    async def scenario(c):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await talk(c, head + b"zz\r\n{}\r\n")).split()[1] == b"400"
        assert asked(c) == 0

    run(scenario, LAID_OUT)


@pytest.mark.parametrize("more", [b"", b"GET /live HTT"])
def test_a_connection_that_says_nothing_more_is_closed(run, more):
    async def scenario(c):
        answer = await talk(c, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" + more)
        assert answer.startswith(b"HTTP/1.1 200")

    run(scenario, LAID_OUT, idle_timeout=0.2)


def test_an_engine_with_control_characters_in_its_head_is_replaced_by_another(run):
    async def scenario(c):
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: a\x01b\r\nContent-Length: 0\r\n\r\n")

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        c.state.members["serve-0"].address = server.sockets[0].getsockname()
        c.state.members["serve-1"].tokens = 1e6
        assert json.loads((await c.post())[2])["choices"][0]["text"] == "hello by serve-1"
        server.close()

    run(scenario, {"serve/0": 1, "serve/1": 1}, health_interval=60)


def test_large_bodies_wait_for_room_and_are_refused_when_there_is_none_in_time(run):
    async def scenario(c):
        c["serve-0"].acts.append("slow")
        large = {"prompt": "x" * (2 << 20)}
        first = asyncio.create_task(c.post(**large))
        await c.until(lambda: asked(c))
        status, headers, body = await c.post(**large)
        assert (status, headers["Retry-After"], b"--max-bodies" in body) == (503, "2", True)

        async def pieces():
            yield json.dumps(large).encode()

        assert (await send(c, pieces(), {}, "/v1/completions"))[0] == 503
        assert (await c.post())[0] == 200, "a small one needs none"
        waits = asyncio.create_task(c.post(**large))
        c["serve-0"].gate.set()
        assert [(await first)[0], (await waits)[0]] == [200, 200]

    run(scenario, {"serve/0": 1}, max_bodies=3 << 20, body_timeout=0.5)


def test_a_room_is_given_back_however_its_block_ends():
    async def scenario():
        room = Room(10)

        async def fail():
            async with room.hold(99, 1.0):
                with pytest.raises(FullError):
                    async with room.hold(1, 0.01):
                        pass
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        async with room.hold(4, 0.01), room.hold(6, 0.01):
            pass

    asyncio.run(scenario())


def test_who_waits_for_room_is_cancelled_even_in_the_moment_it_is_freed():
    async def scenario():
        room, full = Room(10), asyncio.Event()

        async def wait():
            async with room.hold(10, 60.0):
                full.set()

        async with room.hold(10, 1.0):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not full.is_set()

    asyncio.run(scenario())
