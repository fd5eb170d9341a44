"""Errors have the shape of the API that the client speaks."""

import json

import aiohttp
import pytest

from dplaunch.router.errors import describe

MESSAGES = "/v1/messages"
ONE_EACH = {"prefill/0": 1, "decode/0": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_below_messages_an_error_has_the_type_that_anthropic_gives_its_status(status, kind):
    for path in (MESSAGES, f"{MESSAGES}/count_tokens"):
        error = {"type": kind, "message": "why"}
        assert describe(path, status, "why", "r1") == {"type": "error", "error": error, "request_id": "r1"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messagesx", "/tokenize"])
def test_everywhere_else_it_has_openais_shape(path):
    error = {"message": "why", "type": "server_error", "param": None, "code": 503}
    assert describe(path, 503, "why", "r1") == {"error": error}


async def refusal(c, status, path=MESSAGES, **asked):
    """The type of the error that a request gets, and its message."""
    answer = await c.post(path, **asked)
    document = json.loads(answer[2])
    assert (answer[0], document["type"], answer[1]["X-Request-Id"]) == (
        status,
        "error",
        document["request_id"],
    )
    return document["error"]["type"], document["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/count_tokens"])
def test_without_the_key_a_message_is_refused_in_anthropics_shape(run, path, stream):
    async def scenario(c):
        assert (await refusal(c, 401, path, stream=stream))[0] == "authentication_error"

    run(scenario, {"serve/0": 1}, api_key="sesame")


def test_what_the_router_refuses_or_cannot_have_answered_has_anthropics_shape_too(run):
    async def scenario(c):
        pair = {"X-Dplaunch-Pair": "nobody"}
        assert (await refusal(c, 404, headers=pair))[0] == "not_found_error"
        assert (await refusal(c, 413, filler="x" * 3000))[0] == "request_too_large"
        assert json.loads((await c.get(MESSAGES))[2])["error"]["type"] == "invalid_request_error"
        c["decode-0"].acts.extend(["reset"] * 3)
        kind, text = await refusal(c, 502)
        assert (kind, "decode-0" in text) == ("api_error", True)
        c["decode-0"].health = 503
        await c.until(lambda: not c.state.ready())
        assert (await refusal(c, 503, stream=True))[0] == "overloaded_error"

    run(scenario, ONE_EACH, max_body=2000)


async def collect(answer, got):
    async for piece in answer.content.iter_any():
        got.append(piece)


@pytest.mark.parametrize(("path", "events"), [(MESSAGES, 1), ("/v1/chat/completions", 0)])
def test_a_stream_of_a_message_that_breaks_off_ends_with_an_error_event(run, path, events):
    async def scenario(c):
        c["decode-0"].acts.append("cut")
        got = []
        async with c.http.post(c.url + path, json={"model": "m", "stream": True}) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await collect(answer, got)
        stream = b"".join(got)
        assert stream.count(b"\n\nevent: error\ndata: ") == events
        if events:
            last = json.loads(stream.rpartition(b"data: ")[2])
            assert (last["type"], last["error"]["type"]) == ("error", "api_error")
            assert last["request_id"] == answer.headers["X-Request-Id"]

    run(scenario, ONE_EACH)
