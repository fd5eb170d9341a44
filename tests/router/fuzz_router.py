"""Clients and engines that send anything: nobody else waits, nothing is smuggled, no answer is our own 500."""

import asyncio
import contextlib
import gzip
import json
import logging
import time

import aiohttp
import pytest

TWO = {"serve/0": 1, "serve/1": 1}
TWO_OF_EACH = {f"{role}/{group}": 1 for role in ("prefill", "decode") for group in (0, 1)}
PER_CLUSTER = 20
"""Attacks on one router; then another one is started."""
GOOD = 5.0
"""Seconds within which a good client has its answer, whatever others do."""
METHODS = (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"P\x00ST", b"post", b"")
PATHS = (
    *(b"/v1/completions", b"/v1/chat/completions", b"/v1/messages", b"/v1/responses", b"/v1/models"),
    *(b"/v1/embeddings", b"/tokenize", b"/health", b"/members", b"/v1/../secret", b"/v1/%2e%2e/secret"),
    *(
        b"//v1/x",
        b"*",
        b"http://other/v1/models",
        b"/v1/" + b"x" * 9000,
        b"/v1/\xff\xfe",
        b"/v1/x?y=%0d%0aX: y",
        b"/",
    ),
)
VERSIONS = (b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"FTP/1.1", b"")
HEADERS = (
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 99999999999999999999"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding : chunked"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: br", b"Expect: 100-continue", b"Connection: upgrade"),
    *(b"X-Request-Id: a\x0bb", b"X-Request-Id: " + b"i" * 4000, b"X-Request-Id: \xff\xfe", b"Upgrade: h2c"),
    *(b"Content-Type: \xe9\xff", b"Content-Type: multipart/form-data", b"Content-Type: application/json; x=\x00"),
    *(b"Accept: \xff", b"Traceparent: \xe9", b"X-Dplaunch-Pair: serve-0", b"X-Dplaunch-Pair: \xff,,serve-9"),
    *(b"Host:", b"Host: a\r\nHost: b", b" folded: x", b"No colon", b"X: " + b"y" * 20_000, b"Authorization: \xff"),
    *(b"X-Data-Parallel-Rank: 1\x002", b"Range: bytes=0-", b"Cookie: a=b; \xff", b"Keep-Alive: 999999"),
)  # fmt: skip
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
WRONG_ANSWERS = (
    *(b"", b"\x00" * 100, b"HTTP/1.1", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"SSH-2.0-x\r\n"),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", b"HTTP/1.1 200 OK\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: a\x01b\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nX-Request-Id: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 x\r\nContent-Length: 3\r\n\r\n\xff\xfe\x00",
    b"HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nX-Injected: yes\r\n\r\n",
)  # fmt: skip


@pytest.fixture
def tracebacks():
    """What was logged with a traceback."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record) if record.exc_info else None
    for name in ("dprouter", "asyncio"):
        logging.getLogger(name).addHandler(handler)
    yield records
    for name in ("dprouter", "asyncio"):
        logging.getLogger(name).removeHandler(handler)


def body(dice):
    """What may stand in a request's body."""
    content = {"model": "m", "prompt": "hi", "stream": dice.random() < 0.5, "max_tokens": 2}
    content["kv_transfer_params"] = {"do_remote_prefill": True, "remote_host": "evil"}
    for _ in range(dice.randrange(3)):
        dice.spoil(content)
    text = json.dumps(content)
    pieces = (
        lambda: text.encode(errors="surrogatepass"),
        lambda: text.encode("utf-16", errors="surrogatepass"),
        lambda: gzip.compress(text.encode(errors="replace")),
        lambda: text.encode(errors="replace")[: dice.randrange(len(text))],
        lambda: dice.randbytes(dice.randrange(2000)),
        lambda: b"[" * 5000 + b"]" * 5000,
        lambda: b'{"prompt": "' + b"x" * 3_000_000 + b'"}',
    )
    return dice.choice(pieces)()


def request(dice):
    """The bytes of one request, or of what somebody takes for one."""
    content = body(dice)
    head = [b" ".join((dice.choice(METHODS[:2]), dice.choice(PATHS[:8]), VERSIONS[0])), b"Host: x"]
    if dice.random() < 0.5:
        head[0] = b" ".join((dice.choice(METHODS), dice.choice(PATHS), dice.choice(VERSIONS)))
    head += dice.sample(HEADERS, dice.randrange(4))
    if dice.random() < 0.5:
        head.append(b"Content-Length: %d" % len(content))
    elif dice.random() < 0.5:
        head.append(b"Transfer-Encoding: chunked")
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    end = dice.choice((b"\r\n\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n", b""))
    return b"\r\n".join(head) + end + content + dice.choice((b"", b"", SMUGGLED))


async def attack(c, dice, raw):
    """Send it in pieces; what came back until the router closes, or for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(c.url.rpartition(":")[2]))
    pieces = []
    with contextlib.suppress(
        OSError, RuntimeError, asyncio.TimeoutError
    ):  # RuntimeError: uvloop's word for it is closed
        step = dice.choice((1 << 20, 1 << 20, 1000))
        for start in range(0, min(len(raw), 100 * step), step):
            writer.write(raw[start : start + step])
            await asyncio.wait_for(writer.drain(), 1)
        if dice.random() < 0.5:
            writer.write_eof()
        until = time.monotonic() + dice.choice((0.01, 0.5))
        while not reader.at_eof() and time.monotonic() < until:
            pieces.append(await asyncio.wait_for(reader.read(1 << 16), until - time.monotonic()))
    writer.transport.abort()
    return b"".join(pieces)


async def prove_well(c, why):
    """A good client has its whole answer at once."""
    began = time.monotonic()
    status, headers, content = await asyncio.wait_for(c.post(prompt="hi"), GOOD)
    assert (status, "X-Injected" in headers) == (200, False), f"{status} {content[:300]} after {why}"
    assert time.monotonic() - began < GOOD, f"{time.monotonic() - began:.1f} s after {why}"


def tells_of_evil(engine):
    """Requests that should have reached no engine like this; engines read JSON only where it is called so."""
    return [
        (path, dict(headers), content)
        for path, headers, content in engine.seen
        if "smuggled" in path
        or "X-Injected" in headers
        or ("evil" in json.dumps(content) and "json" in headers.get("Content-Type", "json"))
    ]


def test_clients_that_send_anything_disturb_nobody_else(run, dice, rounds, tracebacks):
    async def scenario(c):
        for _ in range(PER_CLUSTER):
            raws = [request(dice) for _ in range(4)]
            answers = await asyncio.gather(*(attack(c, dice, raw) for raw in raws), prove_well(c, raws))
            for raw, answer in zip(raws, answers, strict=False):
                assert answer[:13] != b"HTTP/1.1 500 ", f"{raw[:600]} → {answer[:500]}"
                assert not tracebacks, f"{raw[:600]} → {tracebacks[0].getMessage()} {tracebacks[0].exc_info}"
        assert not [found for engine in c.engines for found in tells_of_evil(engine)]
        await c.until(c.idle)
        await c.all_in()

    for _ in range(max(1, rounds // PER_CLUSTER)):
        run(scenario, TWO, health_interval=60)


def test_hundreds_of_connections_that_say_nothing_disturb_nobody(run):
    async def scenario(c):
        port = int(c.url.rpartition(":")[2])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        for number, (_, writer) in enumerate(idle):
            writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\nGET /li"[: number % 40])
        await prove_well(c, "400 idle connections")
        closed = asyncio.gather(*(reader.read() for reader, _ in idle), return_exceptions=True)
        await asyncio.wait_for(closed, 8)
        await prove_well(c, "400 idle connections were closed")
        for _, writer in idle:
            writer.close()

    run(scenario, TWO, header_timeout=1.0, idle_timeout=1.0)


@pytest.mark.parametrize("role", ["serve", "prefill", "decode"])
def test_engines_that_answer_anything_are_replaced_by_others(run, dice, rounds, tracebacks, role):
    async def scenario(c):
        sent = []

        async def serve(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                answer = dice.choice(WRONG_ANSWERS)
                sent.append(answer)
                writer.write(answer[: dice.choice((len(answer), dice.randrange(len(answer) + 1)))])
                end = dice.choice((writer.close, writer.write_eof, writer.transport.abort))
                end()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        wrong, right = (c.state.members[name] for name in (f"{role}-0", f"{role}-1"))
        address, wrong.address = wrong.address, server.sockets[0].getsockname()[:2]
        for _ in range(PER_CLUSTER):
            right.tokens, wrong.suspect_until = 1e6, 0.0  # so that the wrong one is asked
            c.state.well(wrong, time.monotonic() + 60)
            c.state.prove([wrong], time.monotonic() + 60)
            with contextlib.suppress(aiohttp.ClientError):
                status, _, content = await asyncio.wait_for(c.post(stream=dice.random() < 0.5), GOOD)
                assert status != 500, f"{sent[-1][:300]} → {status} {content[:300]}"
            assert not tracebacks, f"{sent[-1][:300]} → {tracebacks[0].getMessage()} {tracebacks[0].exc_info}"
        wrong.address = address
        server.close()
        assert len(sent) > PER_CLUSTER / 2

    for _ in range(max(1, rounds // PER_CLUSTER)):
        run(scenario, TWO if role == "serve" else TWO_OF_EACH, health_interval=60)
