"""Flows and tries without a web server or a socket: engines that answer from a script, a client that notes verbs."""

import asyncio

import pytest

from dplaunch.router import body, flows
from dplaunch.router.attempt import MOST_HELD, Attempt, Shared, Unserved
from dplaunch.router.engines import MOST_WHOLE, EngineFaultError, EngineLostError, Message
from dplaunch.router.http1 import Head
from dplaunch.router.link import BrokenError, ExhaustedError
from dplaunch.router.members import Entry, Membership
from dplaunch.router.metrics import Metrics
from dplaunch.router.request import Request
from dplaunch.router.state import State
from dplaunch.router.tries import Tries

STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
JSON = {"content-type": "application/json"}
HANDLE = b'{"kv_transfer_params": {"h": 1}}'


class ScriptedLink:
    """A connection whose answer is known: status, headers, pieces; a piece that is an error is raised."""

    def __init__(self, status, headers, *pieces: object) -> None:
        self._head = Head(status, headers)
        self._pieces = list(pieces)
        self.sent = b""

    def send(self, _method, message, _deadline):
        self.sent = b"".join(message)

    async def head(self):
        return self._head

    async def read(self):
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def pour(self, sink):
        while self._pieces and isinstance(self._pieces[0], bytes) and sink(self._pieces[0]):
            self._pieces.pop(0)


class ScriptedPool:
    """Gives each engine's links in order."""

    def __init__(self, **links: list) -> None:
        self._links = links
        self.given = []

    async def take(self, address, _deadline):
        link = self._links[address[0]].pop(0)
        if isinstance(link, Exception):
            raise link
        return link

    def give(self, address, _link):
        self.given.append(address[0])


class NotedClient:
    """Notes the verbs; its socket is full after ``room`` pieces at a time."""

    def __init__(self, room=99) -> None:
        self.status = 0
        self.verbs = []
        self._room = self._left = room

    async def begin(self, status, _headers, length):
        self.status = status
        self.verbs.append(("begin", status, length))

    async def write(self, piece):
        self._left = self._room
        self.verbs.append(("write", piece))

    def write_now(self, piece):
        if not self._left:
            return False
        self._left -= 1
        self.verbs.append(("now", piece))
        return True

    async def end(self):
        self.verbs.append(("end",))

    def cut(self, last):
        self.verbs.append(("cut", last))


class Watched:
    """Stands where health is: notes who was lost and who was asked."""

    def __init__(self) -> None:
        self.lost_ones, self.checked = [], []

    def lost(self, member, _reason):
        self.lost_ones.append(member.entry.name)

    async def check(self, member):
        self.checked.append(member.entry.name)


class Scene:
    """A cluster of ``names`` (prefill-0, decode-0 …), one engine a group, all alive."""

    def __init__(self, *names: str, flow="pull", **links: list) -> None:
        entries = [Entry(n, n[:-2], n.replace("-", "/"), f"http://{n.replace('-', '')}:1") for n in names]
        self.state = State(policy="round-robin")
        self.state.apply(Membership(tuple(entries), flow=flow))
        self.state._turns = dict.fromkeys(self.state._turns, -1)
        for member in self.state.members.values():
            self.state.well(member, self.state.clock())
        self.pool, self.metrics, self.health = ScriptedPool(**links), Metrics(), Watched()
        self.tries = Tries(Shared(self.state, self.pool, self.metrics, None), self.health)

    def answer(self, client, *pair: str, kind="completions"):
        message = Message("POST", "/v1/completions", b'{"prompt":"x"}')
        named = {name[:-2]: self.state.members[name] for name in pair}
        request = Request("id", kind, message, body.read(message.body), 0.0, named)
        asyncio.run(self.tries.answer(request, client))
        return client.verbs

    @property
    def idle(self):
        return all(m.requests == 0 for m in self.state.members.values())


def prefilled():
    return ScriptedLink(200, JSON, HANDLE)


def test_a_stream_is_begun_written_and_ended():
    decode = ScriptedLink(200, STREAM, b"one", b"two", b"three")
    scene = Scene("prefill-0", "decode-0", prefill0=[prefilled()], decode0=[decode])
    verbs = scene.answer(NotedClient())
    assert verbs == [("begin", 200, None), ("write", b"one"), ("now", b"two"), ("now", b"three"), ("end",)]
    assert b'"kv_transfer_params":{"h":1}' in decode.sent.replace(b": ", b":")
    assert scene.pool.given == ["prefill0", "decode0"]
    assert scene.idle


def test_a_client_whose_socket_is_full_is_waited_for():
    scene = Scene("serve-0", flow="alone", serve0=[ScriptedLink(200, STREAM, b"1", b"2", b"3", b"4")])
    verbs = scene.answer(NotedClient(room=1))
    assert [verb[0] for verb in verbs] == ["begin", "write", "now", "write", "now", "end"]
    assert b"".join(verb[1] for verb in verbs[1:-1]) == b"1234"


def test_a_json_answer_is_held_until_it_is_complete():
    broken = ScriptedLink(200, JSON, b'{"a"', BrokenError("reset"))
    scene = Scene(
        "serve-0", "serve-1", flow="alone", serve0=[broken], serve1=[ScriptedLink(200, JSON, b"{}")]
    )
    assert scene.answer(NotedClient()) == [("begin", 200, 2), ("write", b"{}"), ("end",)]
    assert (scene.health.lost_ones, scene.health.checked) == (["serve-0"], ["serve-0"])


def test_a_stream_that_breaks_is_cut_and_not_tried_again():
    broken = ScriptedLink(200, STREAM, b"one", BrokenError("reset"))
    scene = Scene("serve-0", "serve-1", flow="alone", serve0=[broken], serve1=[])
    assert scene.answer(NotedClient())[-2:] == [("write", b"one"), ("cut", b"")]
    assert (scene.health.lost_ones, scene.health.checked) == (["serve-0"], [])
    assert scene.metrics.counts["dprouter_cut_streams_total"] == 1
    assert scene.idle


def test_a_group_that_failed_is_avoided_and_three_failures_are_the_end():
    scene = Scene(
        "serve-0", "serve-1", flow="alone", serve0=[BrokenError("gone")] * 2, serve1=[BrokenError("gone")]
    )
    with pytest.raises(EngineLostError):
        scene.answer(NotedClient())
    assert scene.health.lost_ones[:2] == ["serve-0", "serve-1"]
    assert len(scene.health.lost_ones) == 3
    assert scene.metrics.counts['dprouter_retries_total{role="serve"}'] == 2


def test_a_request_that_ended_two_engines_reaches_no_third():
    def ended():
        return ScriptedLink(200, STREAM, BrokenError("the connection closed"))

    names = ("serve-0", "serve-1", "serve-2")
    scene = Scene(*names, flow="alone", serve0=[ended()], serve1=[], serve2=[ended()])
    with pytest.raises(EngineLostError):
        scene.answer(NotedClient())
    assert scene.health.lost_ones == ["serve-0", "serve-2"]
    assert scene.metrics.counts['dprouter_retries_total{role="serve"}'] == 1


def test_no_engine_is_to_blame_where_the_router_can_make_no_connection():
    scene = Scene("serve-0", flow="alone", serve0=[ExhaustedError("Too many open files")])
    with pytest.raises(ExhaustedError):
        scene.answer(NotedClient())
    assert scene.health.lost_ones == []
    assert scene.idle


def test_a_json_answer_that_is_very_long_is_passed_on_as_it_comes():
    pieces = [b"x" * MOST_HELD, b"y", b"z"]
    scene = Scene("serve-0", flow="alone", serve0=[ScriptedLink(200, JSON, *pieces)])
    client = NotedClient()
    scene.answer(client)
    assert [verb[0] for verb in client.verbs] == ["begin", "write", "now", "end"]


def test_a_prefill_answer_without_an_end_is_given_up():
    link = ScriptedLink(200, JSON, *[b"x" * (MOST_WHOLE // 2)] * 3)
    scene = Scene(
        "prefill-0", "decode-0", prefill0=[link, prefilled()], decode0=[ScriptedLink(200, JSON, b"{}")]
    )
    assert scene.answer(NotedClient())[-1] == ("end",)
    assert scene.metrics.counts['dprouter_retries_total{role="prefill"}'] == 1


def test_engines_that_were_named_are_tried_once():
    failed = ScriptedLink(500, JSON, b"{}")
    scene = Scene("serve-0", "serve-1", flow="alone", serve0=[failed], serve1=[])
    with pytest.raises(EngineFaultError):
        scene.answer(NotedClient(), "serve-0")
    assert scene.metrics.counts["dprouter_retries_total"] == 0


def test_where_no_group_serves_nothing_is_asked():
    scene = Scene("prefill-0", flow="pull", prefill0=[prefilled()])
    with pytest.raises(Unserved):
        scene.answer(NotedClient())
    assert scene.idle


@pytest.mark.parametrize(("kind", "proved"), [("completions", True), ("chat", True), ("other", False)])
def test_an_answer_proves_the_engines_that_were_named_and_only_completions_count(kind, proved):
    scene = Scene("serve-0", flow="alone", serve0=[ScriptedLink(200, JSON, b"{}")])
    scene.state.members["serve-0"].proved = False
    scene.answer(NotedClient(), "serve-0", kind=kind)
    assert scene.state.members["serve-0"].proved is proved


@pytest.mark.parametrize(
    ("flow", "kind", "name"),
    [
        ("alone", "chat", "alone"),
        ("pull", "chat", "pull"),
        ("push", "chat", "push"),
        ("push", "other", "alone"),
    ],
)
def test_the_flow_is_the_members_files_but_for_what_needs_no_prefill(flow, kind, name):
    assert flows.choose(flow, kind).__module__.rpartition(".")[2] == name


def test_every_try_has_an_id_of_its_own():
    first, second = prefilled(), prefilled()
    links = {"prefill0": [first, second], "decode0": [ScriptedLink(500, JSON, b"")]}
    links["decode1"] = [ScriptedLink(200, JSON, b"{}")]
    scene = Scene("prefill-0", "decode-0", "decode-1", **links)
    scene.answer(NotedClient())
    ids = [
        line
        for link in (first, second)
        for line in link.sent.split(b"\r\n")
        if line.startswith(b"X-Request-Id")
    ]
    assert len(set(ids)) == 2
    assert all(line.startswith(b"X-Request-Id: id-") for line in ids)


def test_an_attempt_picks_whom_the_client_named():
    scene = Scene("serve-0", "serve-1", flow="alone")
    message = Message("POST", "/v1/completions", b"{}")
    pair = {"serve": scene.state.members["serve-1"]}
    request = Request("id", "chat", message, body.read(b"{}"), 0.0, pair)
    attempt = Attempt(Shared(scene.state, scene.pool, scene.metrics, None), request, NotedClient(), set())
    assert attempt.pick("serve").entry.name == "serve-1"
