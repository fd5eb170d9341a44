"""What clients see besides answers: key, limits, ids, health, members, metrics, errors."""

import asyncio
import json

import pytest


def test_health_is_503_with_reasons_until_each_role_serves(run):
    async def scenario(c):
        assert (await c.get("/health"))[0] == 200
        for engine in c.role("decode"):
            engine.health = 503
        await c.until(lambda: not c.state.ready())
        status, headers, body = await c.get("/health")
        health = json.loads(body)
        assert (status, headers["Retry-After"], health["status"]) == (503, "2", "unavailable")
        assert health["roles"] == {
            "prefill": {"groups": 2, "serving": 2},
            "decode": {"groups": 2, "serving": 0},
        }
        assert "decode-0 (decode/0) is out: /healthz answers 503" in health["reasons"]

    run(scenario)


def test_a_request_that_cannot_be_served_gets_503_and_when_to_come_back(run):
    async def scenario(c):
        c["decode-0"].health = 500
        await c.until(lambda: not c.state.ready())
        status, headers, body = await c.post()
        assert (status, headers["Retry-After"]) == (503, "2")
        assert "decode-0 (decode/0) is out" in json.loads(body)["error"]["message"]
        assert c["prefill-0"].seen == []
        assert await c.counter("dprouter_unserved_total") == 1

    run(scenario, {"prefill/0": 1, "decode/0": 1})


def test_no_members_at_all_is_said(run):
    async def scenario(c):
        c.write_members('{"format": 2, "revision": "0", "flow": "alone", "members": []}')
        await c.until(lambda: not c.state.members)
        health = json.loads((await c.get("/health"))[2])
        assert health["reasons"] == ["the members file names no serve engine"]
        assert (await c.post())[0] == 503

    run(scenario)


def test_a_broken_members_file_keeps_the_last_good_one_and_says_so(run):
    async def scenario(c):
        c.write_members("{not json")
        await c.until(lambda: c.state.problem)
        assert (await c.post())[0] == 200
        assert (await c.get("/health"))[0] == 200
        seen = json.loads((await c.get("/members"))[2])
        assert "members.json cannot be used: it is not JSON" in seen["problem"]
        assert len(seen["members"]) == 4
        c.write_members()
        await c.until(lambda: not c.state.problem)

    run(scenario)


def test_members_shows_what_the_router_sees(run):
    async def scenario(c):
        c["decode-0"].running = 7
        await c.put("decode/1", "draining")
        await c.until(lambda: c.state.members["decode-0"].running)
        seen = json.loads((await c.get("/members"))[2])
        assert (seen["revision"], seen["model"], seen["ready"], seen["workers"]) == ("g1", "m", True, 1)
        shown = {m["name"]: (m["state"], m["alive"], m["group_open"], m["running"]) for m in seen["members"]}
        assert shown["decode-0"] == ("serving", True, True, 7)
        assert shown["decode-1"] == ("draining", True, False, 0)

    run(scenario)


def test_the_key_is_asked_and_given_to_engines_instead_of_the_clients_header(run):
    async def scenario(c):
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "sesame"},
            {"Authorization": "Bearer é"},
        ):
            assert (await c.post(headers=header))[0] == 401
        assert all(engine.seen == [] for engine in c.engines)
        assert (await c.get("/v1/models"))[0] == 401
        assert (await c.get("/health"))[0] == 200
        assert (await c.post(headers={"Authorization": "Bearer sesame"}))[0] == 200
        assert {s[1]["Authorization"] for e in c.engines for s in e.seen} == {"Bearer sesame"}

    run(scenario, api_key="sesame")


def test_without_a_key_the_clients_own_is_not_passed_on(run):
    async def scenario(c):
        assert (await c.post(headers={"Authorization": "Bearer mine", "traceparent": "00-1"}))[0] == 200
        headers = [s[1] for e in c.engines for s in e.seen]
        assert not any("Authorization" in h for h in headers)
        assert {h["traceparent"] for h in headers} == {"00-1"}

    run(scenario)


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1", True), ("x" * 129, False), ("two words", False), ("", False)]
)
def test_a_usable_request_id_is_kept(run, given, kept):
    async def scenario(c):
        answered = (await c.post(headers={"X-Request-Id": given}))[1]["X-Request-Id"]
        assert (answered == given) == kept
        assert answered

    run(scenario, {"serve/0": 1})


def test_bodies_that_are_too_large_or_no_json_are_refused_with_a_sentence(run):
    async def scenario(c):
        status, _, body = await c.post(prompt="x" * 5000)
        assert (status, json.loads(body)["error"]["message"]) == (
            413,
            "the body is larger than 4000 bytes (--max-body)",
        )

        async def pieces():
            for _ in range(50):
                yield b"x" * 100

        async with c.http.post(c.url + "/v1/completions", data=pieces()) as answer:
            assert answer.status == 413
        for raw in (b"{", b"[1]", b"\xff", b'{"a":' * 400 + b"1" + b"}" * 400):
            async with c.http.post(c.url + "/v1/chat/completions", data=raw) as answer:
                assert answer.status == (400 if len(raw) < 400 else 200)
        assert (await c.get("/v1/completions"))[0] == 405

    run(scenario, {"serve/0": 1}, max_body=4000)


def test_slow_headers_and_slow_bodies_are_given_up(run):
    async def scenario(c):
        port = int(c.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408")
        writer.close()

    run(scenario, {"serve/0": 1}, header_timeout=0.1, body_timeout=0.1)


def test_the_rest_of_v1_is_passed_to_a_decode_engine_with_its_query(run):
    async def scenario(c):
        status, _, body = await c.get("/v1/models?a=1%2F2")
        assert status == 200
        assert json.loads(body)["by"].startswith("decode-")
        assert (await c.post("/v1/embeddings", input="x"))[0] == 200
        paths = sorted(seen[0] for engine in c.role("decode") for seen in engine.seen)
        assert paths == ["/v1/embeddings", "/v1/models?a=1%2F2"]
        assert all(engine.seen == [] for engine in c.role("prefill"))

    run(scenario)


@pytest.mark.parametrize("path", ["/", "/sleep", "/v1/%2e%2e/sleep", "/v1", "/health/x"])
def test_nothing_but_v1_reaches_an_engine(run, path):
    async def scenario(c):
        port = int(c.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()
        assert c.engines[0].seen == []

    run(scenario, {"serve/0": 1})


def test_metrics_are_prometheus_text(run):
    async def scenario(c):
        await c.post()
        _, headers, body = await c.get("/metrics")
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = body.decode().splitlines()
        assert 'dprouter_requests_total{path="completions",status="200"} 1' in lines
        assert 'dprouter_member_up{member="decode-0",role="decode",group="decode/0"} 1' in lines
        assert 'dprouter_first_byte_seconds_bucket{le="+Inf"} 1' in lines
        assert "dprouter_ready 1" in lines
        families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
        assert len(families) == len(set(families))

    run(scenario)


def test_a_silent_engine_is_out_after_three_checks_and_a_refusing_one_at_once(run):
    async def scenario(c):
        held = asyncio.Event()

        async def silent(request):
            await held.wait()

        engine = c["decode-0"]
        await engine.crash()
        await c.until(lambda: not c.state.members["decode-0"].alive)
        assert "cannot be asked" in c.state.members["decode-0"].reason
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        member = c.state.members["decode-1"]
        member.address = server.sockets[0].getsockname()
        await c.until(lambda: not member.alive)
        assert (member.slow, member.reason) == (3, "/healthz does not answer")
        server.close()

    run(scenario, health_timeout=0.1)
