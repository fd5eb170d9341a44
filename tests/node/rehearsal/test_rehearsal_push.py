"""Layer-wise hand-over: the decode engine calls a metaserver, and the prefill engine pushes to it."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

HERE = {"VLLM_HOST_IP": "127.0.0.1"}
ID = {"X-Request-Id": "r1"}


def layerwise(role: str, port: int) -> list[str]:
    config = {"kv_connector": "MooncakeLayerwiseConnector", "kv_role": role, "kv_port": str(port)}
    return ["--kv-transfer-config", json.dumps(config)]


@pytest.fixture
def metaserver():
    """(URL, queue of what decode engines posted)."""
    posted: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/metaserver?id=1", posted
    server.shutdown()
    server.server_close()


@pytest.fixture
def pair(start, free_port_block):
    """(prefill with tp 2, decode with tp 2)."""
    base = free_port_block(2)
    prefill = start("-tp", "2", *layerwise("kv_producer", base), env=HERE)
    decode = start("-tp", "2", *layerwise("kv_consumer", base), env=HERE)
    return prefill.ready(), decode.ready()


def ask(engine, prompt: str, tokens: int, params: dict, **headers):
    body = {"model": "m", "prompt": prompt, "max_tokens": tokens, "kv_transfer_params": params}
    return engine.ask("POST", "/v1/completions", body, **headers)


def decode_first(decode, url: str, prompt: str):
    """The thread of a decode request, and where its answer will be."""
    answers: list = []
    params = {"do_remote_prefill": True, "do_remote_decode": False, "metaserver": url}
    thread = threading.Thread(target=lambda: answers.append(ask(decode, prompt, 3, params, **ID)))
    thread.start()
    return thread, answers


def test_decode_answers_from_what_is_pushed(pair, metaserver):
    prefill, decode = pair
    url, posted = metaserver
    thread, answers = decode_first(decode, url, "one two three")
    params = posted.get(timeout=5)
    assert (params["do_remote_decode"], params["remote_host"]) == (True, "127.0.0.1")
    assert params["remote_tp_size"] == 2
    assert ask(prefill, "one two three", 1, params, **ID)[0] == 200
    thread.join(5)
    status, body = answers[0]
    assert (status, body["choices"][0]["text"]) == (200, "one two three")
    assert decode.metric('source="external_kv_transfer"') == 3
    assert prefill.metric('source="local_compute"') == 3
    port = params["remote_port"]
    assert f"KVCacheRecvingLayerThread listening on tcp://127.0.0.1:{port + 1}, tp_rank=1" in decode.log
    assert "listening on" not in prefill.log


def test_what_is_pushed_under_another_id_reaches_nobody(pair, metaserver, until):
    prefill, decode = pair
    url, posted = metaserver
    thread, answers = decode_first(decode, url, "a b")
    params = posted.get(timeout=5)
    assert ask(prefill, "a b", 1, params, **{"X-Request-Id": "other"})[0] == 200
    assert decode.metric("num_requests_waiting") == 1
    assert not answers
    assert ask(prefill, "a b", 1, params, **ID)[0] == 200
    thread.join(5)
    assert answers[0][0] == 200


def test_without_a_metaserver_the_request_waits_until_its_client_leaves(pair, free_port_block, until):
    decode = pair[1]
    url = f"http://127.0.0.1:{free_port_block()}/v1/metaserver"
    params = {"do_remote_prefill": True, "metaserver": url}
    with pytest.raises(TimeoutError):
        decode.ask(
            "POST",
            "/v1/completions",
            {"model": "m", "prompt": "a", "kv_transfer_params": params},
            timeout=0.8,
        )
    decode.logged(f"Failed to connect to metaserver. url={url}, retry=3.")
    decode.logged("Access metaserver fail.")
    until(lambda: decode.metric("num_requests_waiting") == 0)


def test_a_decode_engine_that_is_gone_costs_the_prefill_request_nothing(pair):
    prefill = pair[0]
    params = {"do_remote_decode": True, "remote_host": "127.0.0.1", "remote_port": 1}
    assert ask(prefill, "a b", 1, params, **ID)[0] == 200
    prefill.logged("Sending signal fail. signal_type=done_sending_msg, request_id=cmpl-r1")


def test_the_consumer_binds_the_ports(pair, start):
    port = int(pair[1].logged("listening on").partition("127.0.0.1:")[2].partition(",")[0])
    other = start(*layerwise("kv_consumer", port), env=HERE)
    assert other.code() == 1
    assert f"Address already in use (addr='tcp://127.0.0.1:{port}')" in other.log
