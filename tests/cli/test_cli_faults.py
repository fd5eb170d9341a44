"""Faults that need no second machine: wrong answers, hung engines, secrets, state of others, moved processes."""

import json
import os
import signal
import urllib.request

import pytest

pytestmark = pytest.mark.whole


def more(laptop, text):
    """cluster.yaml with this at its end."""
    path = laptop.folder / "cluster.yaml"
    laptop.write("cluster.yaml", path.read_text() + f"\n{text}\n")


def failure(laptop, *words: str, code: int):
    """The one error of a verb and the hint that ends it."""
    lines = laptop(*words, code=code).stderr.splitlines()
    (error,) = (line for line in lines if line.startswith("error: "))
    return error.removeprefix("error: "), lines[-1]


def state_of(state_home, name):
    (path,) = state_home.glob(f"dplaunch/laptop-*/*/proc/{name}/state.json")
    return path


@pytest.mark.parametrize(
    ("answer", "said"), [("empty", "answered 200 with empty text"), ("garbage", "answered 200 with")]
)
def test_an_engine_that_answers_nonsense_fails_up_and_all_is_taken_down(ranks, answer, said):
    more(ranks, f"overrides: {{serve-1: {{env: {{DPLAUNCH_REHEARSAL_ANSWER: {answer}}}}}}}")
    error, hint = failure(ranks, "up", code=1)
    assert error.startswith(f"serve-1 on laptop {said}")
    assert hint == "hint: dplaunch logs serve-1 -n 50"
    assert ranks.json("status", code=1)["state"] == "down"


def test_an_error_in_json_is_the_one_document(ranks):
    more(
        ranks,
        "overrides: {serve-0: {env: {DPLAUNCH_REHEARSAL_CRASH_AFTER: 0, DPLAUNCH_REHEARSAL_NEVER_READY: 1}}}",
    )
    error = ranks.json("up", code=1)["error"]
    assert error["exit_code"] == 1
    assert error["text"].startswith("serve-0 on laptop exited with code 1 before it was ready")
    assert error["detail"][-1].startswith("log: laptop:/")
    assert error["hint"]


def test_a_secret_file_that_is_not_there_and_one_that_is(pair, state_home):
    more(pair, "api_key: {from_file: key.txt}")
    error, hint = failure(pair, "up", code=2)
    assert error == "the secret file key.txt cannot be read: No such file or directory"
    assert "from_file" in hint
    pair.write("key.txt", "s3cr3t-of-a-file\n")
    up = pair.json("up")
    pair.json("status", "--wait", "ready")
    ask = urllib.request.Request(up["endpoint"] + "/v1/models")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(ask, timeout=5)
    ask.add_header("Authorization", "Bearer s3cr3t-of-a-file")
    assert urllib.request.urlopen(ask, timeout=5).status == 200
    files = (path for path in state_home.rglob("*") if path.is_file())
    assert not [path for path in files if b"s3cr3t-of-a-file" in path.read_bytes()]
    pair("down", "-y")


def test_state_that_another_host_wrote_is_shown_and_left_alone(pair, state_home):
    pair("up", "--detach")
    pair("status", "--wait", "ready", "--timeout", "60s")
    path = state_of(state_home, "decode-0")
    ours = path.read_text()
    state = json.loads(ours)
    os.kill(state["guard"][0], signal.SIGSTOP)  # or it would write its state again
    path.write_text(json.dumps({**state, "host": "another", "boot": "another"}))
    assert "decode-0 on laptop: foreign" in pair("status", code=7).stdout
    error, hint = failure(pair, "up", "-y", code=1)
    assert error.startswith("decode-0 on laptop was left alone, nothing was changed")
    assert "remove" in hint
    pair("down", "-y", code=1)
    assert path.exists()
    path.write_text(ours)
    os.kill(state["guard"][0], signal.SIGCONT)
    pair("down", "-y")
    assert pair.json("status", "cluster.yaml", code=1)["state"] == "down"


TWO = """\
cluster: moved-{pid}
engine: {{kind: vllm, version: "0.11.0"}}
model: test/model
served_model_name: tiny
hardware: {{devices: 2}}
nodes: [{{name: "n[1-2]", host: "192.0.2.[1-2]"}}]
roles: {{serve: {{nodes: "n[1-2]", groups: 2}}}}
router: {{node: {router}, port: {port}}}
"""


def test_a_router_that_moves_leaves_nothing_where_it_was(laptop):
    port = 21000 + os.getpid() % 2000
    for router in ("n2", "n1"):
        laptop.write("two.yaml", TWO.format(pid=os.getpid(), router=router, port=port))
        assert laptop.json("up", "--rehearse", "two.yaml", "-y")["ready"]
        seen = laptop.json("status", "--rehearse", "two.yaml")
        assert seen["state"] == "serving"
        assert [p["node"] for p in seen["processes"] if p["role"] == "router"] == [router]
    assert laptop.json("down", "--rehearse", "two.yaml", "-y")["clean"]


def test_waiting_for_what_does_not_run(laptop):
    error, hint = failure(laptop, "status", "--wait", "ready", code=1)
    assert error == "nothing to wait for: prefill-[0-1],decode-[0-3],router on laptop was not started"
    assert "`dplaunch up`" in hint
