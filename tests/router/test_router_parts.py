"""The parts that need no engine: members file, bodies, state, metrics, gauges, settings."""

import asyncio
import contextlib
import json

import pytest

from dplaunch.router import body, metrics, settings
from dplaunch.router.health import GAUGES, Health, gauge
from dplaunch.router.link import BrokenError
from dplaunch.router.members import Entry, MembersError, MembersFile, Membership, parse
from dplaunch.router.state import SUSPECT_SECONDS, State

GOOD = {"name": "d0", "role": "decode", "group": "decode/0", "url": "http://[::1]:9000/", "state": "draining"}


def members(*changes: dict):
    return json.dumps({"revision": 7, "members": [{**GOOD, **change} for change in changes]})


def test_a_members_file_is_read():
    assert parse(members({})) == Membership(
        (Entry("d0", "decode", "decode/0", "http://[::1]:9000", True),), "7", ""
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", 'no list called "members"'),
        ('{"members": {}}', 'no list called "members"'),
        ('{"members": [3]}', "member 1: it is not an object"),
        (members({}, {"name": ""}), 'member 2: "name" is missing'),
        (members({"group": 3}), '"group" is missing'),
        (members({"role": "encode"}), 'role "encode" is none of prefill, decode, serve'),
        (members({"state": "gone"}), 'state "gone" is none of serving, draining'),
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


def test_a_body_is_changed_only_where_it_must_be():
    raw = b'{ "prompt" : "x" }'
    assert body.read(raw).for_decode(None) == raw
    assert json.loads(body.read(raw).for_decode({"h": 1})) == {"prompt": "x", "kv_transfer_params": {"h": 1}}
    assert "max_completion_tokens" not in json.loads(body.read(raw).for_prefill())
    assert body.read(b'{"a":1,"kv_transfer_params":{}}').raw == b'{"a":1}'
    assert body.read_any(b"\x00\x01") == body.Body(b"\x00\x01", {})


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


def a_state(*entries: Entry):
    now = [100.0]
    state = State(clock=lambda: now[0])
    state.apply(Membership(entries or (Entry("s0", "serve", "serve/0", "http://a:1"),), "1"))
    return state, now, state.members


def test_an_engine_is_out_until_a_health_check_begun_after_its_loss_is_good():
    state, now, known = a_state()
    assert not state.ready()
    assert state.well(known["s0"], 100.0)
    assert state.ready()
    now[0] = 105.0
    assert state.lost(known["s0"], "reset")
    assert not state.lost(known["s0"], "reset")
    assert not state.well(known["s0"], 104.9)
    assert not state.ready()
    assert state.well(known["s0"], 105.1)
    assert state.choose("serve") is known["s0"]


def test_a_good_answer_forgets_slow_ones():
    state, _, known = a_state()
    state.well(known["s0"], 100)
    assert [state.slow(known["s0"], "slow") for _ in range(2)] == [False, False]
    state.well(known["s0"], 100)
    assert [state.slow(known["s0"], "slow") for _ in range(3)] == [False, False, True]


def test_an_error_makes_an_engine_suspect_for_a_while():
    state, now, known = a_state()
    state.erred(known["s0"])
    assert state.candidates("serve")[0].suspect
    now[0] += SUSPECT_SECONDS
    assert not state.candidates("serve")[0].suspect


def test_counts_are_given_back_however_a_request_ends():
    state, _, known = a_state()

    def fail():
        with state.lease(known["s0"], 0.1), state.lease(known["s0"], 0.2):
            assert (known["s0"].requests, known["s0"].tokens) == (2, pytest.approx(0.3))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (known["s0"].requests, known["s0"].tokens) == (0, 0.0)


def test_requests_this_router_sent_are_not_counted_twice():
    state, _, known = a_state()
    state.figures(known["s0"], running=5, waiting=2, own=4)
    assert state.candidates("serve")[0][-2:] == (3, 2)
    state.figures(known["s0"], running=1, waiting=0, own=4)
    assert state.candidates("serve")[0][-2:] == (0, 0)


def test_a_new_members_file_keeps_what_is_known_of_an_engine_at_the_same_address():
    state, _, known = a_state()
    one = known["s0"]
    state.well(one, 100)
    state.apply(Membership((Entry("s0", "serve", "serve/1", "http://a:1", draining=True),)))
    assert state.members["s0"] is one
    assert one.entry.group == "serve/1"
    state.apply(Membership((Entry("s0", "serve", "serve/1", "http://a:2"),)))
    assert not state.members["s0"].alive


def test_a_prefill_engine_alone_needs_a_decode_engine_too():
    state, _, known = a_state(Entry("p", "prefill", "g", "http://a:1"))
    state.well(known["p"], 100)
    assert (state.needed, state.ready()) == (("prefill", "decode"), False)


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
    found = settings.parse(argv.split(), {"VLLM_API_KEY": "sesame"})
    assert (found.port, found.workers, found.policy, found.max_body) == (80, 2, "round-robin", 512 * 1024)
    assert (found.api_key, settings.parse(["--members", "m"], {}).api_key) == ("sesame", "")


@pytest.mark.parametrize("wrong", ["--workers 0", "--policy best", "--max-body -1", "--port x", "--grace x"])
def test_a_wrong_argument_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        settings.parse(["--members", "m", *wrong.split()], {})
    assert stopped.value.code == 2
    assert wrong.split()[0] in capsys.readouterr().err


def test_draining_the_last_open_group_is_noticed_at_once():
    state, _, known = a_state()
    state.well(known["s0"], 100)
    assert state.ready()
    state.apply(Membership((Entry("s0", "serve", "serve/0", "http://a:1", draining=True),)))
    assert not state.ready()
    assert state.choose("serve") is None


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
        state, _, _ = a_state()
        pool = StubbornPool()
        health = Health(state, pool, interval=0.0, timeout=1.0)
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
