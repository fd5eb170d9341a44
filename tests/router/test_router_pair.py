"""A request that names its engines: it gets exactly these, or a sentence that says why not."""

import asyncio
import json
import socket

import pytest
from aiohttp.test_utils import make_mocked_request

from dplaunch.router import address, admission
from dplaunch.router.attempt import Shared
from dplaunch.router.front import Front
from dplaunch.router.keys import Keys
from dplaunch.router.metrics import Exchange, Metrics
from dplaunch.router.settings import Settings
from dplaunch.router.state import State

HEADER = "X-Dplaunch-Pair"


def message(body):
    return json.loads(body)["error"]["message"]


def asked(c):
    return sorted(engine.name for engine in c.engines if engine.seen)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("names", ["prefill-1,decode-0", " decode-0 , prefill-1 "])
def test_the_engines_named_are_asked_and_the_answer_names_them(run, names, stream):
    async def scenario(c):
        c["decode-0"].waiting = 40
        await c.until(lambda: c.state.members["decode-0"].waiting == 40)
        status, headers, _ = await c.post(stream=stream, headers={HEADER: names})
        assert (status, headers[HEADER]) == (200, "prefill-1,decode-0")
        assert asked(c) == ["decode-0", "prefill-1"]
        assert c.idle()

    run(scenario)


def test_who_names_nobody_is_told_of_nobody(run):
    async def scenario(c):
        assert HEADER not in (await c.post())[1]
        assert not any(HEADER in seen[1] for engine in c.engines for seen in engine.seen)

    run(scenario)


def test_one_engine_is_named_where_roles_are_not_split(run):
    async def scenario(c):
        status, headers, _ = await c.post(headers={HEADER: "serve-2"})
        assert (status, headers[HEADER], asked(c)) == (200, "serve-2", ["serve-2"])

    run(scenario, {"serve/0": 2, "serve/1": 1})


@pytest.mark.parametrize("act", ["500", "reset"])
@pytest.mark.parametrize("broken", ["prefill-0", "decode-0"])
def test_a_failure_of_the_engines_named_is_the_answer(run, act, broken):
    async def scenario(c):
        c[broken].acts.append(act)
        status, headers, body = await c.post(headers={HEADER: "prefill-0,decode-0"})
        assert (status, headers[HEADER]) == (500 if act == "500" else 502, "prefill-0,decode-0")
        assert broken in message(body)
        assert not {"prefill-1", "decode-1"} & set(asked(c))
        assert await c.counter("dprouter_retries_total") == 0

    run(scenario)


@pytest.mark.parametrize(
    ("names", "status", "said"),
    [
        ("prefill-0,decode-9", 404, 'there is no engine "decode-9" here (X-Dplaunch-Pair); /members lists them'),
        ("", 404, 'there is no engine "" here'),
        ("decode-0", 400, 'X-Dplaunch-Pair takes one prefill and one decode engine, not "decode-0"'),
        ("decode-0,decode-1", 400, "takes one prefill and one decode engine"),
        ("prefill-0,decode-0,decode-1", 400, "takes one prefill and one decode engine"),
    ],
)  # fmt: skip
def test_names_that_are_no_pair_are_refused_with_a_sentence(run, names, status, said):
    async def scenario(c):
        answered, _, body = await c.post(headers={HEADER: names})
        assert answered == status
        assert said in message(body)
        assert asked(c) == []

    run(scenario)


def test_a_group_that_is_out_of_service_is_named(run):
    async def scenario(c):
        c["decode-1"].health = 503
        await c.until(lambda: not c.state.members["decode-1"].alive)
        status, _, body = await c.post(headers={HEADER: "prefill-0,decode-0"})
        assert status == 503
        assert message(body) == "group decode/0 of decode-0 is out of service; see /health"
        assert (await c.post(headers={HEADER: "prefill-0,decode-2"}))[0] == 200

    run(scenario, {"prefill/0": 1, "decode/0": 2, "decode/1": 1})


def test_a_group_that_drains_takes_no_named_requests_either(run):
    async def scenario(c):
        await c.put("decode/0", "draining")
        assert (await c.post(headers={HEADER: "prefill-0,decode-0"}))[0] == 503

    run(scenario)


def test_a_key_is_what_it_takes_where_there_is_one(run):
    async def scenario(c):
        named = {HEADER: "prefill-0,decode-0"}
        assert (await c.post(headers=named))[0] == 401
        assert (await c.post(headers={**named, "Authorization": "Bearer sesame"}))[0] == 200

    run(scenario, api_key="sesame")


@pytest.mark.parametrize(("peer", "status"), [("192.0.2.77", 403), ("127.0.0.1", 404)])
def test_without_a_key_only_the_node_itself_may_choose(run, peer, status):
    async def scenario(c):
        shared = Shared(c.state, None, Metrics(), None)
        front = Front(Settings(members=""), Keys("", guarded=False), shared, None, Exchange("", 0))
        answer = await front.handle(asking_from(peer))
        assert answer.status == status
        if status == 403:
            said = "X-Dplaunch-Pair is for requests with the API key, or from the router's own node"
            assert message(answer.text) == said

    run(scenario, {"prefill/0": 1, "decode/0": 1})


def asking_from(peer):
    class Transport(asyncio.Transport):
        def get_extra_info(self, name, default=None):
            return (peer, 4711) if name == "peername" else default

    return make_mocked_request("POST", "/v1/completions", {HEADER: "nobody"}, transport=Transport())


def own_address():
    """What this machine would send from; loopback where it has no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return way.getsockname()[0]


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        (own_address(), True),
        ("192.0.2.77", False),
        ("2001:db8::77", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_the_nodes_own_addresses_are_told_from_others(peer, here):
    assert address.is_own(peer) is here


def test_a_router_without_members_knows_nobody():
    with pytest.raises(admission.Refused, match="there is no engine") as caught:
        admission.find("serve-0", State())
    assert caught.value.status == 404
