"""KV goes from a prefill engine to a decode engine, once, over the producer's own port."""

import json

import pytest

SIZES = {"prefill": {"dp_size": 1, "tp_size": 2}, "decode": {"dp_size": 1, "tp_size": 1}}
ASK = {"do_remote_decode": True, "do_remote_prefill": False}


def kv(role: str, port: int, connector: str = "MooncakeConnectorV1", **more) -> list[str]:
    value = {
        "kv_connector": connector,
        "kv_role": role,
        "kv_port": str(port),
        "kv_connector_extra_config": SIZES,
    }
    return ["--kv-transfer-config", json.dumps({**value, **more})]


@pytest.fixture
def pair(start, free_port_block):
    """(prefill with tp 2, decode)."""
    base = free_port_block(2)
    env = {"VLLM_HOST_IP": "127.0.0.1"}
    prefill = start("-tp", "2", *kv("kv_producer", base), env=env)
    decode = start(*kv("kv_consumer", base), env=env)
    return prefill.ready(), decode.ready()


def prefilled(engine, prompt: str) -> dict:
    status, body = engine.complete(prompt, 1, kv_transfer_params=ASK)
    assert status == 200
    return body["kv_transfer_params"]


def test_decode_answers_from_what_it_fetched(pair, until):
    prefill, decode = pair
    params = prefilled(prefill, "the quick brown fox")
    assert params["do_remote_prefill"] is True
    assert params["remote_host"] == "127.0.0.1"
    assert params["num_prompt_blocks"] == len(params["remote_block_ids"]) == 1
    assert prefill.metric("kv_cache_usage_perc") > 0
    assert decode.text("the quick brown fox", 5, kv_transfer_params=params) == "the quick brown fox the"
    assert decode.metric('source="external_kv_transfer"') == 4
    assert decode.metric('source="local_compute"') == 0
    until(lambda: prefill.metric("kv_cache_usage_perc") == 0)
    assert f"Starting listening on path: tcp://127.0.0.1:{params['remote_port'] + 1}" in prefill.log


def test_chat_is_handed_over_too(pair):
    prefill, decode = pair
    body = {"model": "m", "messages": [{"role": "user", "content": "hello you"}], "max_completion_tokens": 1}
    params = prefill.ask("POST", "/v1/chat/completions", {**body, "kv_transfer_params": ASK})[1][
        "kv_transfer_params"
    ]
    answer = decode.ask(
        "POST", "/v1/chat/completions", {**body, "max_completion_tokens": 2, "kv_transfer_params": params}
    )
    assert answer[1]["choices"][0]["message"]["content"] == "hello you"


def test_a_mixed_up_handle_gives_a_wrong_answer(pair):
    prefill, decode = pair
    params = prefilled(prefill, "of somebody else")
    assert decode.text("my own words", 3, kv_transfer_params=params) == "of somebody else"


def test_a_handle_is_good_for_one_fetch(pair, until):
    prefill, decode = pair
    params = prefilled(prefill, "a b")
    assert decode.complete("a b", 1, kv_transfer_params=params)[0] == 200
    status, body = decode.complete("a b", 1, kv_transfer_params=params)
    assert (status, body["error"]["type"]) == (500, "InternalServerError")
    assert "Mooncake transfer failed" in decode.log
    until(lambda: decode.metric('finished_reason="error"') == 1)


@pytest.mark.parametrize(
    "wrong",
    [{"remote_port": 1}, {"remote_engine_id": "other"}, {"remote_request_id": "none"}, {"remote_port": None}],
)
def test_wrong_handles_fail(pair, wrong):
    prefill, decode = pair
    params = {**prefilled(prefill, "a"), **wrong}
    assert decode.complete("a", 1, kv_transfer_params=params)[0] == 500


def test_without_a_handle_decode_computes_itself(pair):
    prefill, decode = pair
    assert decode.text("a b", 2) == "a b"
    assert decode.metric('source="local_compute"') == 2
    assert prefill.complete("a b", 2)[1]["kv_transfer_params"] is None
    assert decode.complete("a b", 2, kv_transfer_params=ASK)[1]["kv_transfer_params"] is None


def test_equal_engine_ids_conflict(start, free_port_block):
    base = free_port_block()
    prefill = start(*kv("kv_producer", base, engine_id="0"), env={"VLLM_HOST_IP": "127.0.0.1"})
    decode = start(*kv("kv_consumer", base, engine_id="0"))
    params = prefilled(prefill.ready(), "a")
    assert decode.ready().complete("a", 1, kv_transfer_params=params)[0] == 500
    assert "Conflict engine id 0_dp0 with local engine id 0_dp0." in decode.log


def test_recompute_policy_computes_what_cannot_be_fetched(start, free_port_block):
    flags = kv("kv_consumer", free_port_block(), kv_load_failure_policy="recompute")
    params = {"do_remote_prefill": True, "remote_host": "127.0.0.1", "remote_port": 1}
    engine = start(*flags).ready()
    assert engine.text("a b", 2, kv_transfer_params=params) == "a b"
    assert engine.metric('source="local_compute"') == 2


def test_kv_that_nobody_fetches_is_freed(start, free_port_block):
    env = {"VLLM_HOST_IP": "127.0.0.1", "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT": "0.1"}
    engine = start(*kv("kv_producer", free_port_block()), env=env).ready()
    params = prefilled(engine, "a")
    line = engine.logged("Force freed expired request")
    assert params["remote_request_id"] in line
    assert "exceeded timeout threshold (0.1 seconds)" in line


def test_a_taken_side_channel_port(pair, start):
    base = prefilled(pair[0], "a")["remote_port"]
    other = start(*kv("kv_producer", base + 1), env={"VLLM_HOST_IP": "127.0.0.1"})
    assert other.code() == 1
    assert f"ZMQError: Address already in use (addr='tcp://127.0.0.1:{base + 1}')" in other.log


def test_nixl_and_its_first_hand_over(start, free_port_block):
    base = free_port_block(2)
    env = {"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": str(base)}
    prefill = start(*kv("kv_producer", 0, "NixlConnector"), env=env)
    env["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(base + 1)
    decode = start(*kv("kv_consumer", 0, "NixlConnector"), env=env, FIRST_FETCH_FAILS="1")
    prefill.ready()
    decode.ready()
    assert decode.complete("a b", 2, kv_transfer_params=prefilled(prefill, "a b"))[0] == 500
    assert "NIXL transfer failure: handshake_setup_failed" in decode.log
    assert decode.text("a b", 2, kv_transfer_params=prefilled(prefill, "a b")) == "a b"


@pytest.mark.parametrize(
    ("named", "bad"), [("127.0.0.1:{port}", True), ("127.0.0.1", True), ("127.0.0.1:1", False)]
)
def test_garbage_comes_from_the_side_channel_that_is_named(start, free_port_block, named, bad):
    base = free_port_block(1)
    prefill = start(*kv("kv_producer", base), env={"VLLM_HOST_IP": "127.0.0.1"})
    decode = start(*kv("kv_consumer", base), BAD_KV_FROM=named.format(port=base))
    params = prefilled(prefill.ready(), "a b c")
    status, body = decode.ready().complete("a b c", 3, kv_transfer_params=params)
    assert status == 200
    assert (body["choices"][0]["text"] != "a b c") is bad
    assert decode.text("a b c", 3) == "a b c"
    assert decode.metric('source="external_kv_transfer"') == 3
