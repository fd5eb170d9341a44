"""Requests end to end: two phases, tries, cuts, groups, disconnects."""

import asyncio
import json

import aiohttp
import pytest

TWO_OF_TWO = {"prefill/0": 1, "decode/0": 2, "decode/1": 2}
SERVE = {"serve/0": 2, "serve/1": 1}


async def collect(answer, got):
    async for part in answer.content.iter_any():
        got.append(part)


def test_a_stream_runs_in_two_phases_and_comes_back_byte_for_byte(run, chunks):
    async def scenario(c):
        asked = {
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 9,
            "max_completion_tokens": 9,
        }
        status, headers, body = await c.post(**asked)
        assert (status, body) == (200, b"".join(chunks))
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        ((_, first_headers, first),) = [seen for e in c.role("prefill") for seen in e.seen]
        assert first["kv_transfer_params"] == {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "remote_engine_id": None,
            "remote_block_ids": None,
            "remote_host": None,
            "remote_port": None,
        }
        assert [first[k] for k in ("stream", "max_tokens", "min_tokens", "max_completion_tokens")] == [
            False,
            1,
            1,
            1,
        ]
        assert "stream_options" not in first
        ((_, second_headers, second),) = [seen for e in c.role("decode") for seen in e.seen]
        handle = second.pop("kv_transfer_params")
        assert (handle["do_remote_prefill"], handle["blocks"]) == (True, [[1, 2]])
        assert second == {"model": "m", "prompt": "hi", **asked}
        assert first_headers["X-Request-Id"] == second_headers["X-Request-Id"]
        assert c.idle()

    run(scenario)


def test_an_answer_that_is_no_stream_keeps_its_type_and_length(run):
    async def scenario(c):
        status, headers, body = await c.post("/v1/chat/completions", messages=[])
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert int(headers["Content-Length"]) == len(body)
        assert json.loads(body)["choices"][0]["text"].startswith("hello by decode-")

    run(scenario)


def test_a_clients_own_kv_handle_is_dropped_with_and_without_split(run):
    async def scenario(c):
        await c.post(kv_transfer_params={"handle": "stolen"})
        (_, _, body) = c.role("serve")[0].seen[0] if c.role("serve") else c.role("decode")[0].seen[0]
        assert body.get("kv_transfer_params", {}).get("handle") != "stolen"

    run(scenario, {"serve/0": 1})
    run(scenario, {"prefill/0": 1, "decode/0": 1})


def test_roles_without_split_get_the_body_once_as_it_came(run, chunks):
    async def scenario(c):
        assert (await c.post(stream=True))[2] == b"".join(chunks)
        (seen,) = [seen for engine in c.engines for seen in engine.seen]
        assert seen[2] == {"model": "m", "prompt": "hi", "stream": True}

    run(scenario, SERVE)


def test_requests_spread_over_idle_engines(run):
    async def scenario(c):
        for _ in range(12):
            await c.post()
        assert [len(engine.seen) for engine in c.engines] == [6, 6, 6, 6]

    run(scenario)


def test_a_deep_queue_in_an_engine_turns_requests_to_the_other(run):
    async def scenario(c):
        c["decode-0"].waiting = 40
        await c.until(lambda: c.state.members["decode-0"].waiting == 40)
        for _ in range(5):
            await c.post()
        assert (len(c["decode-0"].seen), len(c["decode-1"].seen)) == (0, 5)

    run(scenario)


@pytest.mark.parametrize("act", ["500", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_before_the_first_byte_another_group_gets_a_new_prefill_and_a_new_id(run, act, stream):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append(act)
            break
        c.state.members["decode-1"].tokens = 1e6  # so that decode-0 is the first choice
        status, headers, _ = await c.post(stream=stream, headers={"X-Request-Id": "mine"})
        assert (status, headers["X-Request-Id"]) == (200, "mine")
        prefills = [seen[1]["X-Request-Id"] for engine in c.role("prefill") for seen in engine.seen]
        (one,) = [seen[1]["X-Request-Id"] for seen in c["decode-0"].seen]
        (two,) = [seen[1]["X-Request-Id"] for seen in c["decode-1"].seen]
        assert sorted(prefills) == sorted([one, two])
        assert one != two
        assert one.startswith("mine-")
        assert two.startswith("mine-")
        assert await c.counter("dprouter_retries_total") == 1

    run(scenario)


def test_a_failed_prefill_is_tried_on_the_other_group(run):
    async def scenario(c):
        c["prefill-0"].acts.extend(["reset"] * 2)
        c.state.members["prefill-1"].tokens = 1e6
        assert (await c.post())[0] == 200
        assert (len(c["prefill-0"].seen), len(c["prefill-1"].seen)) == (1, 1)

    run(scenario)


def test_with_one_group_a_lost_connection_is_tried_again_there_once_it_answers_its_health(run):
    async def scenario(c):
        c["decode-0"].acts.append("reset")
        assert (await c.post())[0] == 200
        assert len(c["decode-0"].seen) == 2

    run(scenario, {"prefill/0": 1, "decode/0": 1})


def test_after_the_first_byte_nothing_is_tried_again_and_the_client_notices(run, chunks):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("cut")
        got = []
        async with c.http.post(c.url + "/v1/completions", json={"prompt": "hi", "stream": True}) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await collect(answer, got)
        assert b"".join(got) == b"".join(chunks[:2])
        assert sum(len(engine.seen) for engine in c.role("decode")) == 1
        assert await c.counter("dprouter_cut_streams_total") == 1
        assert c.idle()

    run(scenario)


def test_a_400_is_the_clients_own_and_is_not_tried_again(run):
    async def scenario(c):
        for role in ("prefill", "decode"):
            for engine in c.role(role):
                engine.acts.append("400")
            status, _, body = await c.post()
            assert status == 400
            assert b"says 400" in body
            for engine in c.role(role):
                engine.acts.clear()
        assert sum(len(engine.seen) for engine in c.engines) == 3
        assert await c.counter("dprouter_retries_total") == 0

    run(scenario)


def test_when_every_try_fails_the_client_gets_the_engines_own_error(run):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.extend(["500"] * 3)
        status, _, body = await c.post(stream=True)
        assert status == 500
        assert b"says 500" in body
        assert sum(len(engine.seen) for engine in c.role("decode")) == 3
        assert c.idle()

    run(scenario)


def test_an_engine_that_fails_fast_does_not_draw_the_requests(run):
    async def scenario(c):
        c["decode-0"].acts.extend(["500"] * 50)
        statuses = [(await c.post())[0] for _ in range(10)]
        assert statuses == [200] * 10
        assert len(c["decode-0"].seen) == 1

    run(scenario)


def test_a_prefill_without_a_handle_goes_on_to_decode_and_is_counted(run):
    async def scenario(c):
        for engine in c.role("prefill"):
            engine.acts.append("no-kv")
        assert (await c.post())[0] == 200
        assert await c.counter("dprouter_prefill_without_kv_total") == 1

    run(scenario)


@pytest.mark.parametrize("stream", [True, False])
def test_a_recomputed_answer_is_run_again_while_nothing_was_sent(run, stream, chunks):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("recomputed")
        c["decode-1"].acts.clear()
        c.state.members["decode-1"].tokens = 1e6
        status, _, body = await c.post(stream=stream)
        assert status == 200
        assert b"recomputed" not in body
        assert len(c.vault) == 0
        assert await c.counter("dprouter_recomputed_total") == 1

    run(scenario)


def test_a_stream_given_up_half_way_is_cut_rather_than_ended_as_if_whole(run):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("recomputed-late")
        async with c.http.post(c.url + "/v1/completions", json={"prompt": "hi", "stream": True}) as answer:
            await answer.content.readany()
            for engine in c.role("decode"):
                engine.gate.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()
        assert await c.counter("dprouter_cut_streams_total") == 1

    run(scenario)


def test_a_stop_string_of_that_name_is_no_recompute(run):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("recomputed")
        status, _, body = await c.post(stop=["recomputed"])
        assert status == 200
        assert b'"stop_reason":"recomputed"' in body

    run(scenario)


def test_when_a_group_dies_only_the_streams_on_the_dead_engine_fail(run, chunks):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.extend(["gate"] * 10)
        running = [asyncio.create_task(c.post(stream=True)) for _ in range(12)]
        await c.until(lambda: sum(engine.streaming for engine in c.role("decode")) == 12)
        dying = c["decode-0"].streaming
        assert dying == 3
        await c["decode-0"].crash()
        for _ in range(8):  # at once, before any health check could have noticed
            for engine in c.role("decode"):
                engine.acts.clear()
            assert (await c.post(stream=True))[2] == b"".join(chunks)
        for engine in c.role("decode")[1:]:
            engine.gate.set()
        results = await asyncio.gather(*running, return_exceptions=True)
        failed = [r for r in results if isinstance(r, Exception)]
        assert len(failed) == dying
        assert all(r[2] == b"".join(chunks) for r in results if r not in failed)
        # decode-1 lives, but its group does not: nothing new went there.
        assert len(c["decode-1"].seen) == 3
        assert c.idle()

    run(scenario, TWO_OF_TWO)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prefill_engine_counts_until_the_decode_engine_has_pulled(run, stream):
    async def scenario(c):
        c["decode-0"].acts.append("slow")
        running = asyncio.create_task(c.post(stream=stream))
        await c.until(lambda: c["decode-0"].requests)
        prefill = c.state.members["prefill-0"]
        assert (prefill.requests, prefill.working, prefill.tokens) == (1, 0, 0.0)
        labels = '{member="prefill-0",role="prefill",group="prefill/0"}'
        assert f"dprouter_member_requests{labels} 1\n" in (await c.get("/metrics"))[2].decode()
        c["decode-0"].gate.set()
        assert (await running)[0] == 200
        assert c.idle()

    run(scenario, {"prefill/0": 1, "decode/0": 1})


def test_the_first_byte_of_the_decode_engine_ends_the_prefill_engines_part(run):
    async def scenario(c):
        c["decode-0"].acts.append("gate")
        async with c.http.post(c.url + "/v1/completions", json={"prompt": "hi", "stream": True}) as answer:
            await answer.content.readany()
            assert [c.state.members[name].requests for name in ("prefill-0", "decode-0")] == [0, 1]
            c["decode-0"].gate.set()
            await answer.content.read()

    run(scenario, {"prefill/0": 1, "decode/0": 1})


@pytest.mark.parametrize("act", ["500", "reset"])
def test_a_decode_engine_that_fails_ends_the_prefill_engines_part_too(run, act):
    async def scenario(c):
        c["decode-0"].acts.extend([act] * 3)
        assert (await c.post())[0] in (500, 502)
        assert c.idle()

    run(scenario, {"prefill/0": 1, "decode/0": 1})


def test_a_draining_group_finishes_what_it_has_and_gets_no_more(run, chunks):
    async def scenario(c):
        c["decode-0"].acts.append("gate")
        c.state.members["decode-1"].tokens = 1e6
        running = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: c["decode-0"].streaming)
        c.state.members["decode-1"].tokens = 0
        await c.put("decode/0", "draining")
        for _ in range(4):
            await c.post()
        assert len(c["decode-1"].seen) == 4
        c["decode-0"].gate.set()
        assert (await running)[2] == b"".join(chunks)

    run(scenario)


def test_a_client_that_goes_away_ends_its_request_at_the_engine_and_leaks_no_count(run):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("gate")
        answer = await c.http.post(c.url + "/v1/completions", json={"prompt": "hi", "stream": True})
        await answer.content.readany()
        assert not c.idle()
        answer.close()
        await c.until(lambda: sum(engine.cancelled for engine in c.role("decode")) == 1)
        await c.until(c.idle)
        assert await c.counter("dprouter_disconnects_total") == 1

    run(scenario)


def test_the_time_of_a_request_is_limited(run):
    async def scenario(c):
        for engine in c.role("decode"):
            engine.acts.append("gate")
        with pytest.raises(aiohttp.ClientPayloadError):
            await c.post(stream=True)
        assert all(member.alive for member in c.state.members.values())
        assert c.idle()

    run(scenario, request_timeout=0.3)


def test_a_client_that_does_not_read_makes_the_engine_wait(run):
    async def scenario(c):
        c["serve-0"].acts.append("flood")
        async with c.http.post(c.url + "/v1/completions", json={"stream": True}) as answer:
            await answer.content.readany()
            last = -1
            while c["serve-0"].written != last:
                last = c["serve-0"].written
                await asyncio.sleep(0.1)
            assert last < 40
            rest = await answer.content.read()
        assert len(rest) > 60 << 20
        assert rest.count(b"x") == len(rest)

    run(scenario, {"serve/0": 1})


def test_an_old_client_gets_the_plain_bytes_until_the_connection_closes(run, chunks):
    async def scenario(c):
        port = int(c.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"prompt":"x","stream":true}'
        writer.write(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert rest == b"".join(chunks)
        writer.close()

    run(scenario)
