"""Who is kept from clients: groups that are held, that are not proved, or that were lost."""

import json

import pytest

HEADER = "X-Dplaunch-Pair"
TWO_OF_TWO = {"prefill/0": 1, "decode/0": 1, "decode/1": 2}


def proofs(engine):
    """Prompts of the router's own requests."""
    return [body["prompt"] for body in engine.requests if body["prompt"].startswith("proof-")]


def clients(engine):
    return len(engine.requests) - len(proofs(engine))


async def shown(c):
    """Engine → what /members shows of it."""
    return {m["name"]: m for m in json.loads((await c.get("/members"))[2])["members"]}


async def opened(c, group):
    """Wait until clients may reach the group."""
    await c.until(
        lambda: all(m.state == "serving" for m in c.state.members.values() if m.entry.group == group)
    )


def test_a_held_group_takes_requests_that_name_it_and_no_others(run):
    async def scenario(c):
        for _ in range(6):
            assert (await c.post())[0] == 200
        assert [clients(c[f"decode-{n}"]) for n in range(3)] == [6, 0, 0]
        assert (await c.post(headers={HEADER: "prefill-0,decode-2"}))[0] == 200
        assert [clients(c[f"decode-{n}"]) for n in range(3)] == [6, 0, 1]
        assert not any(proofs(engine) for engine in c.engines)
        seen = (await shown(c))["decode-1"]
        assert (seen["state"], seen["group_open"], seen["alive"]) == ("held", False, True)
        health = json.loads((await c.get("/health"))[2])
        assert health["roles"]["decode"] == {"groups": 2, "serving": 1}
        assert health["reasons"] == ["group decode/1 is held: it takes requests that name it only"]

    run(scenario, TWO_OF_TWO, states={"decode/1": "held"})


def test_where_all_is_held_clients_are_refused_and_a_pair_is_answered(run):
    async def scenario(c):
        status, headers, body = await c.post()
        assert (status, headers["Retry-After"]) == (503, "2")
        assert "decode-0 (decode/0) is held" in json.loads(body)["error"]["message"]
        assert (await c.post(headers={HEADER: "prefill-0,decode-0"}))[0] == 200
        assert (await c.post())[0] == 503

    run(scenario, {"prefill/0": 1, "decode/0": 1}, states={"prefill/0": "held", "decode/0": "held"})


def test_a_held_group_that_lost_an_engine_takes_no_request_at_all(run):
    async def scenario(c):
        c["decode-2"].health = 503
        await c.until(lambda: not c.state.members["decode-2"].alive)
        assert (await c.post(headers={HEADER: "prefill-0,decode-1"}))[0] == 503

    run(scenario, TWO_OF_TWO, states={"decode/1": "held"})


def test_a_group_that_was_held_is_open_as_soon_as_the_file_says_so(run):
    async def scenario(c):
        c["decode-1"].acts.append("500")  # it would fail a proof
        await c.put("decode/1", "serving")
        assert c.state.unproved() == {}
        assert (await shown(c))["decode-1"]["group_open"]

    run(scenario, TWO_OF_TWO, states={"decode/1": "held"})


def test_a_router_that_starts_trusts_what_the_file_calls_serving(run):
    async def scenario(c):
        assert (await c.post())[0] == 200
        assert not any(proofs(engine) for engine in c.engines)

    run(scenario)


def test_a_group_is_proved_through_every_engine_before_clients_reach_it(run):
    async def scenario(c):
        c["decode-2"].acts.extend(["slow"])
        await c.until(lambda: c["decode-2"].requests)
        for _ in range(4):
            assert (await c.post())[0] == 200
        assert [clients(c[f"decode-{n}"]) for n in (1, 2)] == [0, 0]
        await c.until(lambda: c.state.members["decode-1"].proved)
        assert await reasons(c) == ["decode-2 (decode/1) is not proved: no answer yet"]
        c["decode-2"].gate.set()
        await opened(c, "decode/1")
        assert [len(proofs(c[f"decode-{n}"])) for n in range(3)] == [0, 1, 1]
        assert (await shown(c))["decode-2"]["group_open"]

    run(scenario, TWO_OF_TWO, states={"decode/1": "proving"})


async def reasons(c):
    return json.loads((await c.get("/health"))[2])["reasons"]


@pytest.mark.parametrize("layout", [{"prefill/0": 2, "decode/0": 2}, {"serve/0": 2}])
@pytest.mark.parametrize("flow", ["", "push"])
def test_a_cluster_proves_itself_when_nothing_serves_yet(run, layout, flow):
    async def scenario(c):
        for group in layout:
            await opened(c, group)
        assert all(proofs(engine) for engine in c.engines)
        assert c.state.ready()
        assert (await c.post())[0] == 200
        assert await c.counter("dprouter_first_byte_seconds_count") == 1, "proofs are not clients' requests"

    flow = flow if "prefill/0" in layout else ""
    run(scenario, layout, flow=flow, states=dict.fromkeys(layout, "proving"))


def test_a_proof_that_fails_is_made_again_and_its_reason_shown(run):
    async def scenario(c):
        await c.until(lambda: c.state.members["decode-1"].doubt)
        said = "decode-1 failed: status 500"
        assert (await shown(c))["decode-1"]["reason"] == f"is not proved: {said}"
        assert f"decode-1 (decode/1) is not proved: {said}" in await reasons(c)
        assert (await c.post())[0] == 200
        assert clients(c["decode-1"]) == 0
        c["decode-1"].acts.clear()
        await opened(c, "decode/1")
        assert await reasons(c) == []

    def broken(c):
        c["decode-1"].acts.extend(["500"] * 10_000)

    run(scenario, states={"decode/1": "proving"}, prepare=broken)


def test_without_an_engine_of_the_other_role_there_is_no_proof_yet(run):
    async def scenario(c):
        await c.until(lambda: c.state.members["decode-0"].doubt)
        said = "is not proved: there is no engine of the other role to prove it with"
        assert f"decode-0 (decode/0) {said}" in await reasons(c)
        await c.put("prefill/0", "serving")
        await opened(c, "decode/0")

    run(scenario, {"prefill/0": 1, "decode/0": 1}, states={"decode/0": "proving", "prefill/0": "draining"})


def test_an_answer_that_is_refused_proves_nothing(run):
    async def scenario(c):
        await c.until(lambda: c.state.members["serve-0"].doubt)
        assert c.state.members["serve-0"].doubt.startswith('status 400: {"error"')
        assert not c.state.ready()

    def refusing(c):
        c["serve-0"].acts.extend(["400"] * 10_000)

    run(scenario, {"serve/0": 1}, states={"serve/0": "proving"}, prepare=refusing)


def test_a_group_that_comes_back_is_proved_whole_before_clients_reach_it(run):
    async def scenario(c):
        await c["decode-1"].crash()
        await c.until(lambda: not c.state.members["decode-1"].alive)
        c["decode-1"].acts.append("slow")
        await c["decode-1"].start()
        await c.until(lambda: proofs(c["decode-1"]))
        for _ in range(4):
            assert (await c.post())[0] == 200
        assert [clients(c[f"decode-{n}"]) for n in range(3)] == [4, 0, 0]
        assert (await shown(c))["decode-1"]["state"] == "proving"
        c["decode-1"].gate.set()
        await opened(c, "decode/1")
        assert proofs(c["decode-2"]), "all of the group"
        assert not proofs(c["decode-0"])

    run(scenario, TWO_OF_TWO)


def test_a_whole_cluster_of_one_group_each_comes_back_by_itself(run):
    async def scenario(c):
        await c["decode-0"].crash()
        await c.until(lambda: not c.state.members["decode-0"].alive)
        assert (await c.post())[0] == 503
        await c["decode-0"].start()
        await opened(c, "decode/0")
        assert (await c.post())[0] == 200

    run(scenario, {"prefill/0": 1, "decode/0": 2})


def test_an_answer_to_a_request_that_names_engines_proves_them(run):
    async def scenario(c):
        await c.until(lambda: proofs(c["decode-1"]))
        assert c.state.members["decode-1"].state == "proving"
        assert (await c.post(headers={HEADER: "prefill-0,decode-1"}))[0] == 200
        assert c.state.members["decode-1"].state == "serving"

    def slow_once(c):
        c["decode-1"].acts.append("slow")

    run(scenario, states={"decode/1": "proving"}, prepare=slow_once)


def test_proofs_show_the_key_and_name_the_model(run):
    async def scenario(c):
        await opened(c, "serve/0")
        ((_, headers, body),) = c["serve-0"].seen
        assert (headers["Authorization"], body["model"], body.get("stream")) == ("Bearer sesame", "m", None)

    run(scenario, {"serve/0": 1}, states={"serve/0": "proving"}, api_key="sesame")
