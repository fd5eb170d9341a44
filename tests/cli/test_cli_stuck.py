"""An engine that answers its health check and nothing else, and requests of other shapes, end to end."""

import json
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.whole

SAID = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def two_decode_groups(pair):
    """prefill-0, and two decode engines of a group each; decode-1 is going to be stuck."""
    text = (pair.folder / "cluster.yaml").read_text()
    text = text.replace("decode: {nodes: laptop}", "decode: {nodes: laptop, groups: 2}")
    stuck = "overrides: {decode-1: {env: {DPLAUNCH_REHEARSAL_STUCK_BY: poison}}}\n"
    pair.write("cluster.yaml", text + stuck)
    return pair


def ask(url, path, body, **headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_stuck_engine_is_named_while_the_others_serve_on(two_decode_groups, until):
    up = two_decode_groups.json("up")
    url, body = up["endpoint"], {"model": up["model"], "max_tokens": 2}
    poison = {**body, "prompt": "poison"}
    with pytest.raises(urllib.error.HTTPError, match="502"):
        ask(url, "/v1/completions", poison, **{"X-Dplaunch-Pair": "prefill-0,decode-1"})
    assert until(lambda: stuck_members(url)) == ["decode-1"]
    for _ in range(4):
        answer = ask(url, "/v1/completions", {**body, "prompt": "one two"})
        assert answer["choices"][0]["text"] == "one two"
    status = two_decode_groups.json("status", code=5)
    assert "decode-1 on laptop is stuck" in status["cause"]["text"]
    assert [p["name"] for p in status["processes"] if p["stuck"]] == ["decode-1"]
    two_decode_groups("down", "-y")


def stuck_members(url):
    with urllib.request.urlopen(f"{url}/members", timeout=5) as answer:
        return [member["name"] for member in json.load(answer)["members"] if member["stuck"]]


def test_messages_and_tokens_pass_through_the_router(pair):
    up = pair.json("up")
    url, model = up["endpoint"], up["model"]
    answer = ask(url, "/v1/messages", {"model": model, "messages": SAID, "max_tokens": 2})
    assert answer["content"][0]["text"] == "one two"
    counted = ask(url, "/v1/messages/count_tokens", {"model": model, "messages": SAID})
    assert counted == {"input_tokens": 3}
    assert ask(url, "/tokenize", {"model": model, "prompt": "one two"})["count"] == 2
    answer = ask(url, "/v1/responses", {"model": model, "input": "one two", "max_output_tokens": 2})
    assert answer["output"][0]["content"][0]["text"] == "one two"
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as page:
        metrics = page.read().decode().splitlines()
    assert 'dprouter_requests_total{path="messages",status="200"} 1' in metrics
    alone = ("dprouter_skipped_prefill_total", "dprouter_prefill_without_kv_total")
    assert not any(line.startswith(alone) for line in metrics)
    pair("down", "-y")
