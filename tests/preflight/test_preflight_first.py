"""The preflight of `up` on nodes in memory: before it starts anything, and while engines load."""

import pytest
from nodes import Ending, Node
from scene import Scene
from specs import cluster, four_p_four_d, serve

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up
from dplaunch.model.event import BecameReady, Note, PhaseEnded, Started
from dplaunch.model.remote import Claim, SurveyReply
from dplaunch.plan import build
from dplaunch.preflight import FirstLook

SPEC = cluster(serve(nodes=("n1", "n2", "n3"), dp=3))
SAVED = {"day": "2026-11-20", "values": {"host.kernel.release": "5.10", "host.kernel.machine": "x86_64"}}
KERNEL = {"uname": {"out": "Linux 5.10 x86_64\n"}}
UPDATED = {"uname": {"out": "Linux 5.15 x86_64\n"}}


def node(name, **fields):
    """One that was saved, and is as it was unless ``fields`` say otherwise."""
    return Node(name, **{"found": saved(SAVED), "outputs": KERNEL, **fields})


def saved(values):
    return SurveyReply(seconds=0.5, saved=values)


def bring_up(*nodes: Node, spec=SPEC, error=None, **options):
    stage = Scene(build(spec), *nodes)
    if error is None:
        up(stage.job, ChangeOptions(**options), lambda *_: True, FirstLook(spec))
    else:
        with pytest.raises(error):
            up(stage.job, ChangeOptions(**options), lambda *_: True, FirstLook(spec))
    return stage


def notes(stage, word="saved|--save"):
    return [n.text for n in stage.of(Note) if any(w in n.text for w in word.split("|"))]


def surveys(stage):
    """Node → the keys asked for, one set per survey."""
    return {
        name: [
            {command["key"].replace("\x1f", " ") for command in asked[name]["commands"]}
            for verb in ("survey", "survey_aside")
            for asked in stage.calls(verb)
            if name in asked
        ]
        for name in stage.nodes
    }


def test_what_changed_on_some_nodes_is_one_note_while_engines_load():
    stage = bring_up(node("n1"), node("n2", outputs=UPDATED), node("n3", outputs=UPDATED))
    [note] = notes(stage)
    assert note.startswith("n[2-3]: host.kernel release was 5.10 on 2026-11-20 and is now 5.15; ")
    assert "`dplaunch check --save`" in note
    texts = [getattr(event, "text", type(event).__name__) for event in stage.events]
    assert texts.index(note) > max(i for i, text in enumerate(texts) if text == "Started")


def test_devices_of_another_cluster_are_a_reason_not_to_start():
    held = SurveyReply(claims=(Claim(cluster="other", process="serve-0", devices=(0,)),))
    stage = bring_up(Node("n1"), Node("n2", found=held), Node("n3"), error=DplaunchError)
    assert stage.of(Started) == []
    assert {asked["n2"]["devices"][0] for asked in stage.calls("survey")} == {0}


def test_where_nothing_was_saved_nothing_more_is_asked():
    stage = bring_up(node("n1"), Node("n2"), Node("n3"))
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


def test_a_start_that_fails_reports_what_changed_too():
    stage = bring_up(
        node("n1", outputs=UPDATED), node("n2", ends={"serve-1": Ending(1)}), error=DplaunchError
    )
    assert [text.split(" on ")[0] for text in notes(stage)] == ["n1: host.kernel release was 5.10"]


def test_a_detached_start_reports_it_before_it_leaves():
    stage = bring_up(node("n1", outputs=UPDATED), detach=True)
    assert [text.split(" on ")[0] for text in notes(stage)] == ["n1: host.kernel release was 5.10"]
    assert stage.of(BecameReady) == []


@pytest.mark.parametrize(
    ("how", "waits"), [({"silent": True}, True), ({"refuses": {"survey_aside": "no more threads"}}, False)]
)
def test_a_node_that_does_not_answer_holds_nothing_up_for_long_and_is_named(how, waits):
    stage = bring_up(node("n1"), node("n2", **how), node("n3", outputs=UPDATED))
    assert [text.split(" on ")[0] for text in notes(stage)] == [
        "n3: host.kernel release was 5.10",
        "n2: changes since `check --save` are unknown, because there was no reply in time; run `dplaunch check`",
    ]
    assert ("compare" in [e.phase for e in stage.of(PhaseEnded)]) is waits


def test_a_change_that_the_quick_part_finds_is_reported_before_the_start():
    before = {"day": "2026-11-20", "values": {"host.nic.nic": "eth7"}}
    addresses = {"interfaces": {"out": "2: eth0    inet 192.0.0.1/24 scope global eth0\n"}}
    stage = bring_up(node("n1", found=saved(before), outputs=addresses))
    texts = [getattr(event, "text", type(event).__name__) for event in stage.events]
    [note] = notes(stage)
    assert note.startswith("n1: host.nic nic was eth7 on 2026-11-20 and is now eth0")
    assert texts.index(note) < texts.index("Started")


def test_nothing_is_started_where_a_node_is_lost_before_it_was_looked_at():
    spec = four_p_four_d()
    stage = bring_up(Node("n2", breaks_at="survey"), spec=spec, error=HostError)
    assert stage.of(Started) == []
    assert "the link broke" in stage.driver.unreached["n2"].text


def test_weights_are_not_read_whole_while_engines_read_them():
    stage = bring_up(node("n1"), node("n2"), node("n3"))
    asked = [c for verb in ("survey", "survey_aside") for a in stage.calls(verb) for c in a["n1"]["commands"]]
    assert asked
    assert not [command for command in asked if "sha256" in command["argv"]]


PORTS = {"day": "2026-11-20", "values": {"npu.network.devices": {"3": {"link": "UP", "lldp": "400GE1/0/3"}}}}
LLDP = {"out": "Ifname: 400GE1/0/3\n"}


def ports(name, link, lldp):
    outputs = {"link 3": {"out": f"link status: {link}\n"}, "lldp 3": lldp}
    return Node(name, found=saved(PORTS), outputs=outputs)


def test_an_answer_that_comes_too_late_is_not_a_change():
    late = {"code": None, "problem": "timed out after 4 s"}
    stage = bring_up(ports("n3", "UP", late), spec=four_p_four_d())
    assert notes(stage, "npu.network") == []


def test_a_new_fault_is_reported_as_a_change():
    stage = bring_up(ports("n3", "DOWN", LLDP), spec=four_p_four_d())
    [note] = notes(stage, "npu.network")
    assert note.startswith("n3: npu.network devices 3 link was UP on 2026-11-20 and is now DOWN; ")


def test_a_fault_that_the_quick_part_reports_is_not_a_change_too():
    before = {"day": "2026-11-20", "values": {"host.nic.nic": "eth7"}}
    addresses = {"interfaces": {"out": "1: lo    inet 192.0.0.1/24 scope host lo\n"}}
    stage = bring_up(node("n1", found=saved(before), outputs=addresses), error=DplaunchError)
    assert notes(stage) == []
