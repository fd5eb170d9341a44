"""Which way each path takes through prefill and decode."""

import json

import pytest

ONE_EACH = {"prefill/0": 1, "decode/0": 1}


def paths(engine):
    return [seen[0] for seen in engine.seen]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_what_has_a_prompt_goes_through_prefill_and_decode(run, path, stream):
    async def scenario(c):
        body = {"max_tokens": 9, "max_output_tokens": 9, "stream": stream, "stream_options": {}}
        assert (await c.post(path, **body))[0] == 200
        (_, _, first), (_, _, second) = c["prefill-0"].seen[0], c["decode-0"].seen[0]
        limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
        assert (first[limit], first["stream"], second[limit]) == (1, False, 9)
        assert first["kv_transfer_params"]["do_remote_decode"]
        assert second["kv_transfer_params"]["handle"]
        assert ("min_tokens" in first) == (path == "/v1/chat/completions")
        assert first.get("store", True) == (path != "/v1/responses")
        assert await c.counter("dprouter_skipped_prefill_total") == 0

    run(scenario, ONE_EACH)


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_1"}, {"background": True}])
def test_a_response_that_an_engine_keeps_is_computed_where_it_is_kept_and_counted(run, more):
    async def scenario(c):
        assert (await c.post("/v1/responses", **more))[0] == 200
        assert (paths(c["prefill-0"]), paths(c["decode-0"])) == ([], ["/v1/responses"])
        assert await c.counter("dprouter_skipped_prefill_total") == 1

    run(scenario, ONE_EACH)


def test_pushed_kv_does_not_find_a_response_and_finds_a_message(run):
    async def scenario(c):
        assert (await c.post("/v1/responses"))[0] == 200
        assert paths(c["prefill-0"]) == []
        assert (await c.post("/v1/messages"))[0] == 200
        assert paths(c["prefill-0"]) == ["/v1/messages"]

    run(scenario, ONE_EACH, flow="push")


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/version"])
def test_tokens_are_counted_by_an_engine_that_reads_prompts(run, path):
    async def scenario(c):
        answer = await (c.get(path) if path == "/version" else c.post(path))
        assert (answer[0], json.loads(answer[2])["by"]) == (200, "prefill-0")
        assert await c.counter("dprouter_skipped_prefill_total") == 0

    run(scenario, ONE_EACH)


def test_a_key_is_asked_for_tokens_too(run):
    async def scenario(c):
        assert (await c.post("/tokenize"))[0] == 401

    run(scenario, {"serve/0": 1}, api_key="sesame")


def test_what_skips_prefill_is_counted_by_kind_and_listed_with_the_members(run):
    async def scenario(c):
        for _ in range(3):
            assert (await c.post("/v1/embeddings", input="x"))[0] == 200
        assert (await c.get("/v1/models"))[0] == 200
        assert json.loads((await c.get("/members"))[2])["skipped_prefill"] == 3
        assert b'dprouter_skipped_prefill_total{path="other"} 3' in (await c.get("/metrics"))[2]

    run(scenario, ONE_EACH)


def test_without_roles_to_split_nothing_skips_prefill(run):
    async def scenario(c):
        assert (await c.post("/v1/embeddings", input="x"))[0] == 200
        assert (await c.post("/v1/messages"))[0] == 200
        assert await c.counter("dprouter_skipped_prefill_total") == 0

    run(scenario, {"serve/0": 1})
