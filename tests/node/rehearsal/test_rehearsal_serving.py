"""One engine alone: its log, its API, its ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

STAGES = [
    "Automatically detected platform cpu",
    "vLLM API server version 0.23.0",
    "non-default args:",
    "Initializing a V1 LLM engine (v0.23.0)",
    "rank 0 in world size 1 is assigned as DP rank 0",
    "[Gloo] Rank 0 is connected to 0 peer ranks",
    "Starting to load model m",
    "Loading safetensors checkpoint shards:   0% Completed",
    "Loading safetensors checkpoint shards: 100% Completed",
    "Available KV cache memory",
    "Starting to capture ACL graphs",
    "Graph capturing finished",
    "init engine (profile, create kv cache, warmup model) took",
    "Starting vLLM server on http://127.0.0.1:",
    "Available routes are:",
    "Application startup complete.",
]


def tokens(body: str) -> str:
    """The text of a stream."""
    lines = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content", "") for choice in choices)


@pytest.fixture
def engine(start):
    return start("--served-model-name", "m", "alias").ready()


def test_start_up_lines_come_in_order_and_it_stays_small(engine):
    engine.logged("Application startup complete.")
    log = engine.log
    places = [log.index(stage) for stage in STAGES]
    assert places == sorted(places)
    assert f"(EngineCore_DP0 pid={engine.pid}) INFO " in log
    proc = Path(f"/proc/{engine.pid}")
    [line] = [line for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM")]
    assert int(line.split()[1]) < 25 * 1024, "KiB resident at most"
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    busy = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert busy <= 0.3, "seconds of processor time until ready"


def test_completions_echo_the_prompt(engine):
    status, body = engine.complete("one two three", 5)
    assert status == 200
    assert body["object"] == "text_completion"
    assert body["choices"][0] == {
        "index": 0,
        "text": "one two three one two",
        "logprobs": None,
        "finish_reason": "length",
        "stop_reason": None,
    }
    assert body["usage"]["prompt_tokens"] == 3
    assert body["usage"]["completion_tokens"] == 5
    assert engine.complete([7, 8], 3)[1]["choices"][0]["text"] == "7 8 7"
    several = engine.complete(["a b", "c"], 2, n=2)[1]["choices"]
    assert [choice["text"] for choice in several] == ["a b", "a b", "c c", "c c"]
    assert engine.metric("generation_tokens_total") == 5 + 3 + 8
    assert engine.metric('source="local_compute"') == engine.metric("vllm:prompt_tokens_total") == 8


def test_chat_echoes_the_last_user_message(engine):
    said = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "first"}]
    said += [{"role": "user", "content": [{"type": "text", "text": "second time"}]}]
    status, body = engine.ask("POST", "/v1/chat/completions", {"model": "alias", "messages": said})
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "second time"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == 5


SAID = [{"role": "user", "content": [{"type": "text", "text": "one two"}]}]


def test_messages_are_answered_in_their_own_shape(engine):
    body = {"model": "m", "messages": SAID, "max_tokens": 3}
    status, answer = engine.ask("POST", "/v1/messages", body)
    assert (status, answer["content"]) == (200, [{"type": "text", "text": "one two one"}])
    assert answer["usage"] == {"input_tokens": 2, "output_tokens": 3}
    status, text = engine.ask("POST", "/v1/messages", {**body, "stream": True})
    names = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("given", ["one two", SAID])
def test_responses_are_answered_in_their_own_shape(engine, given):
    body = {"model": "m", "input": given, "max_output_tokens": 3}
    status, answer = engine.ask("POST", "/v1/responses", body)
    assert (status, answer["output"][0]["content"][0]["text"]) == (200, "one two one")
    status, text = engine.ask("POST", "/v1/responses", {**body, "stream": True})
    names = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert names == ["response.created", *["response.output_text.delta"] * 3, "response.completed"]


def test_tokens_are_counted(engine):
    assert engine.ask("POST", "/v1/messages/count_tokens", {"messages": SAID})[1] == {"input_tokens": 2}
    counted = engine.ask("POST", "/tokenize", {"prompt": "one two three"})[1]
    assert (counted["count"], counted["tokens"]) == (3, [0, 1, 2])
    assert engine.ask("POST", "/detokenize", {"tokens": [4, 5]})[1] == {"prompt": "4 5"}
    assert engine.ask("POST", "/tokenize", {})[0] == 400


def test_an_engine_that_is_stuck_is_healthy_and_answers_nothing(start, until):
    engine = start("--served-model-name", "m", STUCK_BY="poison").ready()
    assert engine.complete("fine", 1)[0] == 200
    with pytest.raises(TimeoutError):
        engine.ask("POST", "/v1/completions", {"prompt": "a poison"}, timeout=0.3)
    assert engine.health() == 200
    until(lambda: "Aborted request" in engine.log)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_streams_end_with_usage_and_done(engine, path):
    body = {"model": "m", "prompt": "a b", "messages": [{"role": "user", "content": "a b"}], "stream": True}
    body |= {"max_tokens": 3, "stream_options": {"include_usage": True}}
    status, text = engine.ask("POST", path, body)
    assert status == 200
    assert tokens(text) == "a b a"
    last = json.loads(text.split("data: ")[-2])
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    assert '"finish_reason":"length"' in text


def test_a_stream_sends_its_first_token_at_once_and_then_so_many_as_its_interval(start):
    engine = start("--stream-interval", "3").ready()
    choices = engine.stream("a b c d e f g h", 8).choices()
    assert [choice["text"] for choice in choices] == ["a", " b c d", " e f g", " h"]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "length"]


def test_each_completion_that_is_asked_for_is_recorded(start, tmp_path):
    env = {"DPLAUNCH_ROOT": str(tmp_path), "DPLAUNCH_PROCESS": "decode-3"}
    engine = start(env=env, REQUESTS="requests.jsonl").ready()
    began = time.time()
    engine.complete("hello", 1)
    body = {"model": "m", "prompt": "proof"}
    engine.ask("POST", "/v1/completions", body, **{"X-Request-Id": "mine", "X-Dplaunch-Pair": "p-0,d-1"})
    first, second = map(json.loads, (tmp_path / "requests.jsonl").read_text().splitlines())
    assert (first["process"], first["path"], first["id"]) == ("decode-3", "/v1/completions", "")
    assert first["body"]["prompt"] == "hello"
    assert began <= first["time"] <= second["time"] <= time.time()
    assert (second["id"], second["pair"], second["body"]) == ("mine", "p-0,d-1", body)


def test_it_answers_for_itself(engine, until):
    status, body = engine.ask("GET", "/v1/models")
    assert status == 200
    assert [model["id"] for model in body["data"]] == ["m", "alias"]
    assert engine.ask("GET", "/version") == (200, {"version": "0.23.0"})
    assert engine.ask("GET", "/load") == (200, {"server_load": 0})
    assert engine.ask("GET", "/ping")[0] == 200
    until(lambda: engine.metric('num_requests_running{engine="0",model_name="m"}') == 0.0)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "x", "prompt": "a"}, 404, "The model `x` does not exist."),
        ({"model": "m", "prompt": ""}, 400, "cannot be empty"),
        ({"model": "m"}, 400, "prompt"),
        ({"model": "m", "prompt": "a", "max_tokens": 0}, 400, "max_tokens must be at least 1, got 0."),
        ({"model": "m", "prompt": "a", "max_tokens": 10**9}, 400, "maximum context length is 131072 tokens"),
        (
            {"model": "m", "prompt": "a", "stream_options": {"include_usage": True}},
            400,
            "Stream options can only",
        ),
        ([1], 400, "valid dictionary"),
    ],
)
def test_bad_requests_are_refused(engine, body, status, words):
    got, answer = engine.ask("POST", "/v1/completions", body)
    assert got == status
    assert words in answer["error"]["message"]
    assert answer["error"]["code"] == status


def test_wrong_paths_methods_and_kinds(engine):
    assert engine.ask("GET", "/nowhere") == (404, {"detail": "Not Found"})
    assert engine.ask("GET", "/v1/completions") == (405, {"detail": "Method Not Allowed"})
    assert engine.ask("POST", "/v1/completions", {}, **{"Content-Type": "text/plain"})[0] == 415
    with socket.create_connection(("127.0.0.1", engine.port)) as client:
        client.sendall(b"hello\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_body_nested_too_deeply_is_a_bad_request(engine):
    client = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=5)
    client.request("POST", "/v1/completions", "[" * 100000, {"Content-Type": "application/json"})
    assert client.getresponse().status == 400
    client.close()
    assert engine.health() == 200


def test_one_connection_takes_requests_of_every_form(engine):
    client = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=5)
    body = json.dumps({"model": "m", "prompt": "a b", "max_tokens": 2}).encode()
    headers = {"Content-Type": "application/json", "X-Request-Id": "mine"}
    for data in (body, iter([body[:10], body[10:]])):  # with a length, then in chunks
        client.request("POST", "/v1/completions", data, headers)
        assert json.loads(client.getresponse().read())["id"] == "cmpl-mine"
    client.close()


def test_a_client_that_leaves_frees_its_seat(start, until):
    engine = start("--max-num-seqs", "1", TOKEN_MS="20").ready()
    with socket.create_connection(("127.0.0.1", engine.port)) as client:
        body = json.dumps({"model": "m", "prompt": "a", "max_tokens": 1000}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: engine.metric("num_requests_running") == 1)
    until(lambda: engine.metric("num_requests_running") == 0)
    assert engine.text("b", 1) == "b"


def test_more_requests_than_seats_wait(start, until):
    engine = start("--max-num-seqs", "1", TOKEN_MS="20").ready()
    sockets = []
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", engine.port))
        body = json.dumps({"model": "m", "prompt": "a", "max_tokens": 1000}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        sockets.append(client)
    until(lambda: engine.metric("num_requests_waiting") == 2)
    assert engine.metric("num_requests_running") == 1
    for client in sockets:
        client.close()


def test_api_key_guards_v1_only(start):
    engine = start(env={"VLLM_API_KEY": "secret"}).ready()
    assert engine.ask("GET", "/v1/models") == (401, {"error": "Unauthorized"})
    assert engine.ask("GET", "/v1/models", Authorization="Bearer wrong")[0] == 401
    assert engine.ask("GET", "/v1/models", Authorization="Bearer secret")[0] == 200
    assert "secret" not in engine.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_when_asked(start, number):
    engine = start().ready()
    began = time.monotonic()
    engine.process.send_signal(number)
    assert engine.code() == 0
    assert time.monotonic() - began < 5.0
    assert "Shutting down" in engine.log
    assert engine.log.rstrip().endswith("INFO:     Application shutdown complete.")


def test_a_taken_port_is_reported_before_anything_is_loaded(start):
    first = start().ready()
    second = start(port=first.port)
    assert second.code() == 1
    assert "OSError: [Errno 98] Address already in use" in second.log
    assert "Starting to load model" not in second.log


def test_an_address_of_another_host_cannot_be_bound(start):
    engine = start(BIND="192.0.2.1")
    assert engine.code() == 1
    assert "OSError: [Errno 99] Cannot assign requested address" in engine.log


def test_the_environment_alone_dies_after_loading(start):
    dp = {
        "VLLM_DP_SIZE": "2",
        "VLLM_DP_RANK": "1",
        "VLLM_DP_MASTER_IP": "127.0.0.1",
        "VLLM_DP_MASTER_PORT": "1",
    }
    engine = start(env=dp)
    assert engine.code() == 1
    assert engine.log.rstrip().endswith("AssertionError")
    assert "100% Completed" in engine.log


def test_a_device_serves_one_engine(start):
    """Without a device list every engine takes the first device, as on a real node."""
    first = start(DEVICES="2", BIND="127.8.7.6")
    first.logged("Application startup complete.")
    second = start(DEVICES="2", BIND="127.8.7.6")
    assert second.code() == 1
    assert "Free memory on device 0" in second.log
    start(DEVICES="2", BIND="127.8.7.6", env={"ASCEND_RT_VISIBLE_DEVICES": "1"}).logged("startup complete.")
    start(DEVICES="2", BIND="127.8.7.5").logged("startup complete.")


def test_a_wrong_interface_is_found_in_the_core(start):
    engine = start(env={"HCCL_SOCKET_IFNAME": "nope0"})
    assert engine.code() == 1
    assert "Unable to find interface for: nope0" in engine.log
    assert "Failed core proc(s): {'EngineCore_DP0': 1}" in engine.log


def test_flags_of_another_release_end_with_two(start):
    engine = start("--disable-log-requests")
    assert engine.code() == 2
    assert (
        engine.log
        == "usage: vllm serve [model_tag] [options]\nvllm: error: unrecognized arguments: --disable-log-requests\n"
    )


def run(bundle: Path, *argv: str, **env: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a stand-in that ends on its own."""
    code = f"import sys; sys.path.insert(0, {str(bundle)!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"
    command = [sys.executable, "-I", "-S", "-c", code, *argv]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_version_and_help(bundle):
    assert run(bundle, "vllm", "--version", DPLAUNCH_REHEARSAL_VERSION="0.9.1")[:2] == (0, "0.9.1\n")
    code, text, _ = run(bundle, "vllm", "serve", "--help")
    assert code == 0
    assert "--data-parallel-rank" in text
    assert run(bundle, "vllm", "dance")[0] == 2


def test_an_engine_without_a_stand_in_is_named(bundle):
    code, _, text = run(bundle, "/usr/bin/sglang", "serve")
    assert (code, text) == (2, "no stand-in plays 'sglang'\n")


def test_paths_that_are_to_be_quiet_are_not_in_the_access_log(start):
    engine = start("--disable-access-log-for-endpoints", "/health,/metrics").ready()
    engine.complete("hello")
    assert engine.logged("POST /v1/completions")
    assert "GET /health" not in engine.log


def test_random_weights_answer_noise_that_depends_on_the_prompt_and_return_its_tokens(start):
    serving = start("--load-format", "dummy").ready()

    def generated(prompt: str):
        _, body = serving.complete(prompt, return_token_ids=True)
        assert not body["choices"][0]["text"].isprintable()
        return body["choices"][0]["token_ids"]

    assert generated("one two") == generated("one two") != generated("two one")
    assert len(generated("one two")) == 4
    assert "token_ids" not in serving.complete("one two")[1]["choices"][0]
