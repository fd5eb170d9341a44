"""How `up` looks at nodes in memory: before it starts anything, and while what it started loads."""

import pytest
from fakefleet import FakeNode, Scene
from specs import cluster, four_p_four_d, serve

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.up import UpOptions, up
from dplaunch.model.event import Note, PhaseEnded, Ready, Started
from dplaunch.plan import build
from dplaunch.preflight import FirstLook

SPEC = cluster(serve(nodes=("n1", "n2", "n3"), dp=3))
SAVED = {"day": "2026-11-20", "values": {"host.kernel.release": "5.10", "host.kernel.machine": "x86_64"}}
KERNEL = {"uname": {"out": "Linux 5.10 x86_64\n"}}
UPDATED = {"uname": {"out": "Linux 5.15 x86_64\n"}}
GONE = {"event": "exit", "code": 1, "signal": "", "tail": ["boom"], "log": "/s/log"}


def node(name, **fields):
    """One that was saved, and is as it was unless ``fields`` say otherwise."""
    return FakeNode(name, **{"survey": {"saved": SAVED}, "outputs": KERNEL, **fields})


def bring_up(*nodes: FakeNode, spec=SPEC, error=None, **options):
    stage = Scene(build(spec), *nodes)
    chosen = UpOptions(preflight=FirstLook(spec), **options)
    if error is None:
        up(stage.job, chosen, lambda _: True)
    else:
        with pytest.raises(error):
            up(stage.job, chosen, lambda _: True)
    return stage


def notes(stage, word="saved|--save"):
    return [n.text for n in stage.of(Note) if any(w in n.text for w in word.split("|"))]


def surveys(stage):
    """Node → the keys asked for, one set per survey."""
    return {
        name: [
            {c["key"].replace("\x1f", " ") for c in asked["commands"]}
            for verb, asked in one.asked
            if verb == "survey"
        ]
        for name, one in stage.nodes.items()
    }


def test_what_changed_on_some_nodes_is_one_note_while_engines_load():
    stage = bring_up(node("n1"), node("n2", outputs=UPDATED), node("n3", outputs=UPDATED))
    [note] = notes(stage)
    assert note == (
        "n[2-3]: host.kernel release was 5.10 on 2026-11-20 and is 5.15; "
        "if that was meant, `dplaunch check --save` takes it as the new state"
    )
    told = [getattr(event, "text", type(event).__name__) for event in stage.events]
    assert told.index(note) > max(i for i, text in enumerate(told) if text == "Started")


def test_where_nothing_was_saved_nothing_more_is_asked():
    stage = bring_up(node("n1"), FakeNode("n2"), FakeNode("n3"))
    quick, rest = surveys(stage)["n1"]
    assert {"host.kernel uname"} <= rest
    assert not quick & rest
    assert [len(asked) for asked in surveys(stage).values()] == [2, 1, 1]
    assert notes(stage) == []


def test_the_rest_is_asked_only_where_something_was_started():
    running = [node(p.node).observed(p.name, fingerprint=p.fingerprint) for p in build(SPEC).processes]
    stage = bring_up(*running)
    assert stage.of(Started) == []
    assert [asked for asked in surveys(stage).values() if asked] == []


def test_a_start_that_fails_tells_what_changed_too():
    stage = bring_up(node("n1", outputs=UPDATED), node("n2", watch={"serve-1": [GONE]}), error=DplaunchError)
    assert [text.split(" on ")[0] for text in notes(stage)] == ["n1: host.kernel release was 5.10"]


def test_a_detached_start_tells_it_before_it_leaves():
    stage = bring_up(node("n1", outputs=UPDATED), detach=True)
    assert [text.split(" on ")[0] for text in notes(stage)] == ["n1: host.kernel release was 5.10"]
    assert stage.of(Ready) == []


class Late(FakeNode):
    """Answers the first survey only."""

    def reply(self, verb, asked):
        if verb == "survey":
            self.silent = {"survey"}
        return super().reply(verb, asked)


class Refuses(FakeNode):
    """Cannot carry out the second survey."""

    def reply(self, verb, asked):
        answer = super().reply(verb, asked)
        if verb == "survey":
            self.errors = {"survey": {"kind": "guard", "text": "no more threads"}}
        return answer


@pytest.mark.parametrize(("kind", "waits"), [(Late, True), (Refuses, False)])
def test_a_node_that_does_not_tell_holds_nothing_up_for_long_and_is_named(kind, waits):
    silent = kind("n2", survey={"saved": SAVED}, outputs=KERNEL)
    stage = bring_up(node("n1"), silent, node("n3", outputs=UPDATED))
    assert [text.split(" on ")[0] for text in notes(stage)] == [
        "n3: host.kernel release was 5.10",
        "n2: what changed since `check --save` is not known; `dplaunch check` tells",
    ]
    assert ("compare" in [e.phase for e in stage.of(PhaseEnded)]) is waits


def test_a_change_that_the_quick_part_sees_is_told_before_the_start():
    saved = {"day": "2026-11-20", "values": {"host.nic.nic": "eth7"}}
    addresses = {"interfaces": {"out": "2: eth0    inet 192.0.0.1/24 scope global eth0\n"}}
    stage = bring_up(node("n1", survey={"saved": saved}, outputs=addresses))
    told = [getattr(event, "text", type(event).__name__) for event in stage.events]
    [note] = notes(stage)
    assert note.startswith("n1: host.nic nic was eth7 on 2026-11-20 and is eth0")
    assert told.index(note) < told.index("Started")


def test_nothing_is_started_where_a_node_is_lost_before_it_was_looked_at():
    spec = four_p_four_d()
    stage = bring_up(FakeNode("n2", breaks_at="survey"), spec=spec, error=HostError)
    assert stage.of(Started) == []
    assert "the link broke" in stage.fleet.unreached["n2"].text


def test_weights_are_not_read_whole_while_engines_read_them():
    stage = bring_up(node("n1"), node("n2"), node("n3"))
    asked = [c for _, a in stage.nodes["n1"].asked for c in a.get("commands", ())]
    assert not [c for c in asked if "sha256" in c["argv"]]


PORTS = {"day": "2026-11-20", "values": {"npu.network.devices": {"3": {"link": "UP", "lldp": "400GE1/0/3"}}}}
LLDP = {"out": "Ifname: 400GE1/0/3\n"}


def ports(name, link, lldp):
    outputs = {"link 3": {"out": f"link status: {link}\n"}, "lldp 3": lldp}
    return FakeNode(name, survey={"saved": PORTS}, outputs=outputs)


def test_what_a_tool_did_not_tell_in_time_did_not_change():
    late = {"code": None, "problem": "timed out after 4 s"}
    stage = bring_up(ports("n3", "UP", late), spec=four_p_four_d())
    assert notes(stage, "npu.network") == []


def test_a_fault_that_came_since_is_told_as_what_changed():
    stage = bring_up(ports("n3", "DOWN", LLDP), spec=four_p_four_d())
    [note] = notes(stage, "npu.network")
    assert note.startswith("n3: npu.network devices 3 link was UP on 2026-11-20 and is DOWN; ")


def test_a_fault_that_the_quick_part_tells_is_no_change_besides():
    saved = {"day": "2026-11-20", "values": {"host.nic.nic": "eth7"}}
    addresses = {"interfaces": {"out": "1: lo    inet 192.0.0.1/24 scope host lo\n"}}
    stage = bring_up(node("n1", survey={"saved": saved}, outputs=addresses), error=DplaunchError)
    assert notes(stage) == []
