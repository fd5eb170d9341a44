"""Decode first: the decode engine calls back, the prefill engine pushes."""

import asyncio
import json

import pytest
from aiohttp import web

from dplaunch.router.address import own_address
from dplaunch.router.callbacks import MOST, Callbacks
from dplaunch.router.engines import EngineLostError
from dplaunch.router.link import Pool
from dplaunch.router.members import Entry
from dplaunch.router.state import Member

PAIR = {"prefill/0": 1, "decode/0": 1}


@pytest.mark.parametrize("stream", [True, False])
def test_the_decode_engine_is_asked_first_and_tells_where_to_push(run, chunks, stream):
    async def scenario(c):
        status, headers, body = await c.post(stream=stream, max_tokens=9)
        assert status == 200
        assert body == b"".join(chunks) if stream else b"hello by decode-0" in body
        assert headers["X-Request-Id"]
        ((_, first_headers, first),) = c["decode-0"].seen
        port = c.url.rpartition(":")[2]
        assert (
            first["kv_transfer_params"].pop("metaserver").startswith(f"http://127.0.0.1:{port}/v1/metaserver")
        )
        assert first["kv_transfer_params"] == {"do_remote_prefill": True, "do_remote_decode": False}
        assert (first["max_tokens"], first["stream"]) == (9, stream)
        ((_, second_headers, second),) = c["prefill-0"].seen
        assert second["kv_transfer_params"]["remote_block_ids"] == [[1, 2]]
        assert [second[key] for key in ("max_tokens", "min_tokens", "stream")] == [1, 1, False]
        assert first_headers["X-Request-Id"] == second_headers["X-Request-Id"]
        assert c["decode-0"].called_back == [200, 200], "the second one changes nothing"
        assert c.idle()

    run(scenario, PAIR, flow="push")


def test_chats_are_pushed_too(run):
    async def scenario(c):
        assert (await c.post("/v1/chat/completions", messages=[]))[0] == 200
        assert len(c["prefill-0"].requests) == 1

    run(scenario, PAIR, flow="push")


def test_the_prefill_engine_counts_until_all_was_pushed(run):
    async def scenario(c):
        c["prefill-0"].acts.append("no-push")
        running = asyncio.create_task(c.post(stream=True))
        prefill = c.state.members["prefill-0"]
        await c.until(lambda: prefill.requests and not prefill.working)
        assert c.state.members["decode-0"].requests == 1
        next(iter(c.vault.values())).set_result("late")
        assert (await running)[0] == 200
        assert c.idle()

    run(scenario, PAIR, flow="push")


@pytest.mark.parametrize("act", ["500", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_prefill_engine_that_fails_is_replaced_and_the_decode_request_made_again(run, act, stream):
    async def scenario(c):
        c["prefill-0"].acts.extend([act] * 2)
        c.state.members["prefill-1"].tokens = 1e6  # so that prefill-0 is the first choice
        assert (await c.post(stream=stream))[0] == 200
        assert (len(c["prefill-0"].seen), len(c["prefill-1"].seen)) == (1, 1)
        ids = [seen[1]["X-Request-Id"] for engine in c.role("decode") for seen in engine.seen]
        assert len(set(ids)) == 2
        assert await c.counter("dprouter_retries_total") == 1

    run(scenario, flow="push")


@pytest.mark.parametrize("act", ["500", "reset"])
def test_a_decode_engine_that_fails_before_it_calls_back_is_replaced(run, act):
    async def scenario(c):
        c["decode-0"].acts.append(act)
        c.state.members["decode-1"].tokens = 1e6
        assert (await c.post(stream=True))[0] == 200
        assert (len(c["decode-0"].seen), len(c["decode-1"].seen)) == (1, 1)
        assert c.state.members["prefill-0"].requests == c.state.members["prefill-1"].requests == 0

    run(scenario, flow="push")


def test_a_decode_engine_that_dies_while_prefill_works_is_replaced_and_prefill_called_off(run):
    async def scenario(c):
        c["prefill-0"].acts.append("silent")
        c.state.members["prefill-1"].tokens = c.state.members["decode-1"].tokens = 1e6
        running = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: c["prefill-0"].seen)
        await c["decode-0"].crash()
        c.state.members["prefill-1"].tokens = 0
        assert (await running)[0] == 200
        assert len(c["decode-1"].requests) == 1

    run(scenario, flow="push")


def test_what_a_prefill_engine_refuses_is_the_clients_own_mistake(run):
    async def scenario(c):
        c["prefill-0"].acts.append("400")
        status, _, body = await c.post()
        assert (status, b"prefill-0 says 400" in body) == (400, True)
        assert await c.counter("dprouter_retries_total") == 0
        assert c.idle()

    run(scenario, PAIR, flow="push")


def test_after_the_first_byte_a_failure_cuts(run, chunks):
    async def scenario(c):
        c["decode-0"].acts.append("cut")
        with pytest.raises(Exception, match="payload"):
            await c.post(stream=True)
        assert await c.counter("dprouter_cut_streams_total") == 1
        assert c.idle()

    run(scenario, PAIR, flow="push")


def test_a_client_that_goes_away_ends_both_requests(run):
    async def scenario(c):
        c["prefill-0"].acts.append("silent")
        running = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: c["prefill-0"].seen)
        running.cancel()
        await c.until(c.idle)
        assert (await c.get("/health"))[0] == 200

    run(scenario, PAIR, flow="push")


def test_a_pair_is_kept_and_the_key_not_asked_of_engines_that_call_back(run):
    async def scenario(c):
        named = {"X-Dplaunch-Pair": "prefill-1,decode-0", "Authorization": "Bearer sesame"}
        assert (await c.post(headers=named))[0] == 200
        assert sorted(engine.name for engine in c.engines if engine.seen) == ["decode-0", "prefill-1"]
        assert c["prefill-1"].seen[0][1]["Authorization"] == "Bearer sesame"

    run(scenario, flow="push", api_key="sesame")


@pytest.mark.parametrize("asked", [{"prompt": ["one", "two"]}, {"n": 2}])
def test_several_sequences_are_computed_by_the_decode_engine_alone_and_counted(run, asked):
    async def scenario(c):
        assert (await c.post(**asked))[0] == 200
        ((_, _, body),) = c["decode-0"].seen
        assert "kv_transfer_params" not in body
        assert c["prefill-0"].seen == []
        assert await c.counter("dprouter_prefill_without_kv_total") == 1

    run(scenario, PAIR, flow="push")


def test_other_requests_go_to_a_decode_engine_as_they_are(run):
    async def scenario(c):
        assert json.loads((await c.get("/v1/models"))[2]) == {"by": "decode-0"}

    run(scenario, PAIR, flow="push")


@pytest.mark.parametrize(
    ("own_id", "content", "status"),
    [
        ("", b"{}", 404),
        ("0-abc", b"{}", 404),
        ("1-abc", b"{}", 404),
        ("x/../1-abc", b"{}", 404),
        (None, b"[", 400),
    ],
)
def test_a_callback_that_nobody_waits_for_or_that_is_not_json_is_refused(run, own_id, content, status):
    async def scenario(c):
        c["decode-0"].acts.append("silent")
        running = asyncio.create_task(c.post())
        await c.until(lambda: c["decode-0"].seen)
        url = c["decode-0"].requests[0]["kv_transfer_params"]["metaserver"]
        url = url if own_id is None else f"{c.url}/v1/metaserver?id={own_id}"
        async with c.http.post(url, data=content) as answer:
            assert answer.status == status
        c["decode-0"].gate.set()
        assert (await running)[0] == 200
        async with c.http.post(url, data=b"{}") as answer:
            assert answer.status == 404, "its request is over"

    run(scenario, PAIR, flow="push")


def test_a_callback_whose_worker_is_gone_is_refused(tmp_path):
    async def scenario():
        callbacks = Callbacks(("127.0.0.1", 80), Pool(1), 0, str(tmp_path))
        return await callbacks.receive("/v1/metaserver?id=1-abc", "1-abc", b"{}")

    assert asyncio.run(scenario()) == web.HTTPNotFound.status_code


def test_an_engine_without_a_route_is_lost():
    async def scenario():
        member = Member(Entry("d", "decode", "decode/0", "http://no-such-host.invalid:1"))
        async with Callbacks(("0.0.0.0", 80), Pool(1)).expect(member):
            pass

    with pytest.raises(EngineLostError, match="there is no route to it"):
        asyncio.run(scenario())


def test_a_callback_is_short_and_is_not_read_beyond_that(run):
    async def scenario(c):
        async with c.http.post(f"{c.url}/v1/metaserver?id=0-a", data=b"x" * (MOST + 1)) as answer:
            assert answer.status == 413

    run(scenario, PAIR, flow="push")


@pytest.mark.parametrize(
    ("bound", "engine", "url"),
    [
        ("192.0.2.1", "198.51.100.7", "http://192.0.2.1:80/v1/metaserver?id=3-"),
        ("2001:db8::1", "[2001:db8::2]", "http://[2001:db8::1]:80/v1/metaserver?id=3-"),
        ("0.0.0.0", "127.0.0.1", "http://127.0.0.1:80/v1/metaserver?id=3-"),
        ("::", "localhost", f"http://{own_address('localhost')}:80/v1/metaserver?id=3-"),
    ],
)
def test_an_engine_is_given_an_address_that_it_can_reach(bound, engine, url):
    async def scenario():
        member = Member(Entry("d", "decode", "decode/0", f"http://{engine}:1"))
        async with Callbacks((bound, 80), Pool(1), 3).expect(member) as callback:
            return callback.url

    assert asyncio.run(scenario()).startswith(url.replace("http://::1:", "http://[::1]:"))
