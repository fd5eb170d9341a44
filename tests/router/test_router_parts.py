"""The parts that need no engine: members file, bodies, state, metrics, gauges, settings."""

import asyncio
import contextlib
import json

import pytest

from dplaunch.router import body, metrics, settings
from dplaunch.router.health import Health, gauge
from dplaunch.router.link import BrokenError
from dplaunch.router.members import Api, Entry, MembersError, MembersFile, Membership, parse
from dplaunch.router.state import State

GOOD = {"name": "d0", "role": "decode", "group": "decode/0", "url": "http://[::1]:9000/", "state": "draining"}
GAUGES = (b"vllm:num_requests_running", b"vllm:num_requests_waiting")


def document(*changes: dict, **top):
    return {"format": 2, "revision": 7, "flow": "pull", "members": [{**GOOD, **c} for c in changes], **top}


def members(*changes: dict, **top):
    return json.dumps(document(*changes, **top))


def test_a_members_file_is_read():
    api = {"health": "/live", "metrics": "/m", "running": "r", "waiting": "w", "models": "/not/ours"}
    entry = Entry("d0", "decode", "decode/0", "http://[::1]:9000", "draining", Api("/live", "/m", "r", "w"))
    assert parse(members({"api": api})) == Membership((entry,), "7", "", "pull")
    assert parse(members({}, flow="push")).entries[0].api == Api("/health", "/metrics", "", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", 'no list called "members"'),
        ('{"members": {}}', 'no list called "members"'),
        (json.dumps(document() | {"members": [3]}), "member 1: it is not an object"),
        (members({}, format=1), "its format is 1, this router reads format 2"),
        ('{"members": []}', "its format is None"),
        (members({}, flow="sideways"), 'flow "sideways" is none of alone, pull, push'),
        (members({}, flow="alone"), 'role "decode" is none of serve, the roles of flow "alone"'),
        (members({}, {"name": ""}), 'member 2: "name" is missing'),
        (members({"group": 3}), '"group" is missing'),
        (members({"role": "encode"}), 'role "encode" is none of prefill, decode'),
        (members({"state": "gone"}), 'state "gone" is none of held, proving, serving, draining'),
        (members({"api": []}), '"api" is not an object of texts'),
        (members({"api": {"health": 3}}), '"api" is not an object of texts'),
        (members({"url": "192.0.0.1:9000"}), "is not http://HOST:PORT"),
        (members({"url": "http://x:y"}), "is not http://HOST:PORT"),
        (members({}, {}), '"d0" is listed twice'),
    ],
)
def test_a_members_file_that_cannot_be_used_says_why(text, why):
    with pytest.raises(MembersError, match=why.replace("[", r"\[")):
        parse(text)


def test_the_file_is_read_only_when_it_changed(tmp_path):
    path, good, bad = tmp_path / "m.json", [], []
    file = MembersFile(str(path), good.append, bad.append)
    file.look()
    file.look()
    assert (len(good), len(bad)) == (0, 1)
    assert "No such file" in bad[0]
    path.write_text(members({}))
    file.look()
    file.look()
    assert (len(good), len(bad)) == (1, 1)
    path.write_bytes(b"\xff\xfe")
    file.look()
    assert (len(good), len(bad)) == (1, 2)


@pytest.mark.parametrize(
    ("fields", "prompt", "output"),
    [
        ({"prompt": [1] * 300}, 300, 256),
        ({"prompt": "x" * 386, "max_tokens": 10}, 105, 10),
        ({"prompt": [[1, 2]], "max_tokens": 10**9}, None, 1024),
        ({"messages": [], "max_completion_tokens": 5, "max_tokens": 9}, None, 5),
        ({"max_tokens": "many"}, None, 256),
        ({"max_tokens": -3}, None, 1),
        ({"max_tokens": 0}, None, 1),
    ],
)
def test_a_request_is_sized(fields, prompt, output):
    found = body.read(json.dumps(fields).encode())
    assert found.output_tokens == output
    assert found.prompt_tokens == (prompt or len(found.raw) // 4 + 1)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"prompt": "x"}, 1),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": []}, 1),
        ({"prompt": ["x", "y"]}, 2),
        ({"prompt": [[1], [2], [3]], "n": 2}, 6),
        ({"messages": [], "n": 4}, 4),
        ({"messages": [], "n": None}, 1),
    ],
)
def test_the_sequences_of_a_request_are_counted(fields, count):
    assert body.read(json.dumps(fields).encode()).sequences == count


def test_a_body_is_changed_only_where_it_must_be():
    raw = b'{ "prompt" : "x" }'
    assert body.read(raw).for_decode(None) == raw
    assert json.loads(body.read(raw).for_decode({"h": 1})) == {"prompt": "x", "kv_transfer_params": {"h": 1}}
    assert json.loads(body.read(raw).for_decode_first("http://r:1/v1/metaserver"))["kv_transfer_params"] == {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "metaserver": "http://r:1/v1/metaserver",
    }
    assert "max_completion_tokens" not in json.loads(body.read(raw).for_prefill("completions"))
    assert body.read(b'{"a":1,"kv_transfer_params":{}}').raw == b'{"a":1}'
    assert body.read_any(b"\x00\x01", "multipart/form-data; boundary=x") == body.Body(b"\x00\x01", {})
    assert body.read_any(b"", "") == body.Body(b"", {})
    assert body.read(b'{"vllm_xargs":{"a":1,"kv_transfer_params":{}}}').raw == b'{"vllm_xargs":{"a":1}}'


@pytest.mark.parametrize(
    ("text", "running", "waiting"),
    [
        (b"", 0, 0),
        (b"vllm:num_requests_running 3", 3, 0),
        (
            b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_running{engine="1"} 1e1\n',
            12,
            0,
        ),
        (
            b'vllm:num_requests_waiting_by_reason{reason="capacity"} 9.0\nvllm:num_requests_waiting{model_name="a b}"} 4.0\n',
            0,
            4,
        ),
        (b"x_vllm:num_requests_waiting 5\nvllm:num_requests_waiting NaN\nvllm:num_requests_waiting\n", 0, 0),
    ],
)
def test_an_engines_queue_is_read_from_its_metrics(text, running, waiting):
    assert tuple(gauge(text, name) for name in GAUGES) == (running, waiting)


def test_numbers_of_workers_add_up_and_are_rendered_under_their_type(tmp_path):
    one, two = metrics.Exchange(str(tmp_path), 0), metrics.Exchange(str(tmp_path), 1)
    one.put({"dprouter_cut_streams_total": 2})
    two.put({"dprouter_cut_streams_total": 3, metrics.series("dprouter_member_up", member='a"\\\n'): 1})
    text = metrics.text(metrics.added([{"dprouter_cut_streams_total": 2}, *one.others()]))
    assert "# TYPE dprouter_cut_streams_total counter\ndprouter_cut_streams_total 5\n" in text
    assert 'dprouter_member_up{member="a\\"\\\\\\n"} 1\n' in text
    assert metrics.Exchange("", 0).others() == []


def test_the_first_byte_histogram_is_cumulative():
    counted = metrics.Metrics()
    for seconds in (0.02, 0.2, 500):
        counted.first_byte(seconds)
    name = "dprouter_first_byte_seconds"
    buckets = [counted.counts[f'{name}_bucket{{le="{edge}"}}'] for edge in (0.01, 0.03, 0.3, 100.0, "+Inf")]
    assert buckets == [0, 1, 2, 2, 3]
    assert counted.counts[f"{name}_sum"] == pytest.approx(500.22)


def test_the_command_line_is_read_and_the_key_comes_from_the_environment():
    argv = (
        "--members m.json --host 0.0.0.0 --port 80 --workers 2 --policy round-robin --model x --max-body 0.5"
    )
    found = settings.parse(argv.split(), {"DPROUTER_API_KEY": "sesame"})
    assert (found.port, found.workers, found.policy, found.max_body) == (80, 2, "round-robin", 512 * 1024)
    assert (found.api_key, settings.parse(["--members", "m"], {}).api_key) == ("sesame", "")


@pytest.mark.parametrize("wrong", ["--workers 0", "--policy best", "--max-body -1", "--port x", "--grace x"])
def test_a_wrong_argument_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        settings.parse(["--members", "m", *wrong.split()], {})
    assert stopped.value.code == 2
    assert wrong.split()[0] in capsys.readouterr().err


class StubbornPool:
    """Breaks no connection off: as if each cancellation came in the moment in which it was made."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, *_: object):
        self.asked += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        raise BrokenError("made, and broken")


@pytest.mark.parametrize("leaves", [True, False])
def test_engines_are_asked_no_more_however_a_cancellation_is_lost(leaves):
    async def scenario():
        state = State()
        state.apply(Membership((Entry("s0", "serve", "serve/0", "http://a:1"),), "1"))
        pool = StubbornPool()
        health = Health(state, pool, pool, interval=0.0, timeout=1.0)
        health.follow()
        await asyncio.sleep(0)
        if leaves:  # the member's file names nobody any more
            state.apply(Membership((), "2"))
            health.follow()
        else:
            await asyncio.wait_for(health.close(), 5)
        for _ in range(20):
            await asyncio.sleep(0)
        assert pool.asked == 1

    asyncio.run(scenario())
