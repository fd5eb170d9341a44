"""Engines that answer nothing: silent ones, and those whose health check is good while nothing moves."""

import asyncio
import json

import aiohttp
import pytest

from dplaunch.router import metrics
from dplaunch.router.health import counters
from dplaunch.router.members import Entry, Membership
from dplaunch.router.state import COLD_PATIENCE, PING_AFTER, PING_EVERY, State

ONE_P_TWO_D = {"prefill/0": 1, "decode/0": 1, "decode/1": 1}
FAST = {"stuck_after": 0.4}


async def seen(c, name):
    return next(m for m in json.loads((await c.get("/members"))[2])["members"] if m["name"] == name)


def first_choice(c, name):
    """Make every other engine of its role look busy."""
    for engine in c.role(name.partition("-")[0]):
        if engine.name != name:
            c.state.members[engine.name].tokens = 1e6


def test_what_waits_on_an_engine_that_falls_silent_is_tried_elsewhere_and_its_streams_end(run):
    async def scenario(c):
        engine = c["decode-0"]
        engine.acts.extend(["gate", "slow"])
        first_choice(c, "decode-0")
        stream = asyncio.create_task(c.post(stream=True))
        await c.until(lambda: engine.streaming)
        waits = asyncio.create_task(c.post())
        await c.until(lambda: len(engine.requests) == 2)
        engine.health = 0
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream
        status, _, body = await waits
        assert (status, b"decode-1" in body) == (200, True)
        assert not c.state.members["decode-0"].alive
        assert await c.counter("dprouter_cut_streams_total") == 1

    run(scenario, ONE_P_TWO_D, health_timeout=0.1)


@pytest.mark.parametrize("flow", ["pull", "push"])
def test_an_engine_in_which_nothing_moves_is_out_within_its_time_and_back_once_it_answers(run, flow):
    async def scenario(c):
        engine = c["decode-0"]
        engine.acts.extend(["slow"] * 99)
        first_choice(c, "decode-0")
        status, _, body = await c.post()
        assert (status, b"decode-1" in body) == (200, True)
        shown = await seen(c, "decode-0")
        assert (bool(shown["stuck"]), shown["alive"], shown["state"]) == (True, True, "proving")
        reasons = json.loads((await c.get("/health"))[2])["reasons"]
        assert [
            "decode-0 (decode/0) is stuck: /healthz is good, but nothing moved" in r for r in reasons
        ] == [True]
        assert await c.counter("dprouter_member_stuck") == 1
        for _ in range(4):
            assert (await c.post())[0] == 200
        engine.acts.clear()
        engine.gate.set()
        await c.until(lambda: c.state.members["decode-0"].state == "serving")
        assert not (await seen(c, "decode-0"))["stuck"]

    run(scenario, ONE_P_TWO_D, flow=flow, **FAST)


def test_a_stream_that_stops_in_the_middle_is_cut(run):
    async def scenario(c):
        c["decode-0"].acts.append("gate")
        first_choice(c, "decode-0")
        with pytest.raises(aiohttp.ClientPayloadError):
            await c.post(stream=True)
        assert c.state.members["decode-0"].stuck

    run(scenario, ONE_P_TWO_D, **FAST)


def test_a_prefill_engine_can_be_stuck_too(run):
    async def scenario(c):
        c["prefill-0"].acts.extend(["silent"] * 99)
        first_choice(c, "prefill-0")
        assert (await c.post())[0] == 200
        assert c.state.members["prefill-0"].stuck

    run(scenario, {"prefill/0": 1, "prefill/1": 1, "decode/0": 1}, **FAST)


def test_an_engine_whose_counters_move_may_take_its_time(run):
    async def scenario(c):
        engine = c["decode-0"]
        engine.acts.append("slow")
        first_choice(c, "decode-0")
        waits = asyncio.create_task(c.post())
        await c.until(lambda: engine.requests)
        for _ in range(10):
            engine.waiting += 1
            counted = engine.waiting
            await c.until(lambda counted=counted: c.state.members["decode-0"].waiting == counted)
        engine.gate.set()
        assert b"decode-0" in (await waits)[2]

    run(scenario, ONE_P_TWO_D, stuck_after=0.3, health_interval=0.1)


def test_an_engine_without_counters_is_never_called_stuck(run):
    async def scenario(c):
        member = c.state.members["serve-0"]
        for page in range(5):
            c.state.moved(member, None, heard=False)
            assert not c.state.stands_still(member, page, 0)

    run(scenario, {"serve/0": 1})


def test_an_engine_that_says_it_has_requests_and_does_not_move_is_asked_for_one(run):
    async def scenario(c):
        engine = c["decode-0"]
        engine.acts.extend(["slow"] * 99)
        engine.running = 1
        await c.until(lambda: c.state.members["decode-0"].running)
        c.state.members["decode-0"].moved_at -= PING_AFTER
        await c.until(lambda: c.state.members["decode-0"].stuck)
        assert engine.requests[0]["prompt"].startswith("proof-")

    run(scenario, ONE_P_TWO_D, **FAST)


def a_state():
    now = [1000.0]
    state = State(clock=lambda: now[0], patience=6.0)
    state.apply(Membership((Entry("s0", "serve", "serve/0", "http://a:1"),)))
    member = state.members["s0"]
    state.well(member, now[0])
    state.moved(member, 1, heard=False)
    return state, now, member


def test_patience_is_for_what_moved_last_and_longer_for_long_prompts_and_fresh_engines():
    state, now, member = a_state()
    now[0] = 1005.9
    assert not state.stands_still(member, 900.0, 100)
    now[0] = 1006.1
    state.moved(member, 1, heard=False)
    assert state.stands_still(member, 900.0, 100) == pytest.approx(6.1)
    assert not state.stands_still(member, 1000.2, 100), "it was sent later"
    assert not state.stands_still(member, 900.0, 16_000), "a long prompt"
    state.moved(member, 1, heard=True)
    assert not state.stands_still(member, 900.0, 100)
    now[0] += 7
    member.warm = False
    assert not state.stands_still(member, 900.0, 100)
    now[0] += COLD_PATIENCE
    assert state.stands_still(member, 900.0, 100)


def test_an_engine_may_be_at_a_long_prompt_of_another_worker(tmp_path):
    (theirs, _, at_it), (state, now, member) = a_state(), a_state()
    at_it.largest = 16_000
    there, here = metrics.Exchange(str(tmp_path), 0), metrics.Exchange(str(tmp_path), 1)
    there.put(metrics.shared(metrics.Metrics(), theirs))
    metrics.hear(state, here.others())
    now[0] += 6.5
    assert not state.stands_still(member, 900.0, 100)
    at_it.largest = 0
    there.put(metrics.shared(metrics.Metrics(), theirs))
    metrics.hear(state, here.others())
    assert state.stands_still(member, 900.0, 100)


def test_who_waits_for_another_engine_is_excused():
    state, now, member = a_state()
    with state.excuse(member):
        now[0] += 100
        state.moved(member, 1, heard=False)
        assert not state.stands_still(member, 900.0, 100)
    assert member.moved_at == now[0]


def test_an_engine_is_suspected_now_and_then_and_only_while_nothing_of_ours_runs_there():
    state, now, member = a_state()
    now[0] += PING_AFTER
    assert not state.suspected(), "it has no requests"
    state.figures(member, running=1, waiting=0, own=0)
    with state.lease(member, 1.0):
        assert not state.suspected()
    assert state.suspected() == {"serve/0": [member]}
    assert not state.suspected()
    now[0] += PING_EVERY + 1
    assert state.suspected()


def test_being_stuck_ends_with_a_proof_or_with_the_engine():
    state, now, member = a_state()
    assert state.stick(member, "nothing moves")
    assert not state.stick(member, "nothing moves")
    assert not state.ready()
    now[0] += 1
    state.prove([member], now[0])
    assert (member.stuck, state.ready()) == ("", True)
    state.stick(member, "nothing moves")
    state.failed(member, "gone")
    assert (member.stuck, member.warm) == ("", False)


def test_counters_are_the_engines_own_and_known_only_where_there_are_some():
    page = b"process_cpu_seconds_total 1\nvllm:tokens 5\n# HELP vllm:tokens x\n"
    name = "vllm:num_requests_running"
    assert counters(page, name) == counters(page.replace(b"total 1", b"total 2"), name)
    assert counters(page, name) != counters(page.replace(b" 5", b" 6"), name)
    assert counters(b"process_cpu_seconds_total 1\n", name) is None
    assert counters(page, "") is None
