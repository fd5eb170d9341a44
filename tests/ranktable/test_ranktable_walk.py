"""The walk of ``ranktable`` on nodes in memory whose tools answer as those of healthy machines, but for one."""

from collections.abc import Mapping
from pathlib import Path

import npustub
import pytest
from msgspec.structs import replace
from nodes import Node
from scene import Scene
from specs import A2, A3, A5, GPU, cluster, nodes, serve

from dplaunch.errors import DplaunchError, HostError, SpecError, UsageError
from dplaunch.model.check import Level
from dplaunch.model.cluster import ClusterSpec, KvTransferSpec, RoleSpec
from dplaunch.model.remote import SurveyReply
from dplaunch.plan import build
from dplaunch.preflight import CheckOptions, check
from dplaunch.preflight.ranktable import find_site, list_nodes, make
from dplaunch.ranktable import read_nodes

GOLDEN = Path(__file__).parent / "golden"
ALL = {"a2": tuple(range(8)), "a3": tuple(range(16))}
Answers = Mapping[str, str | Mapping[str, object]]


def answers(family: str, number: int) -> dict[str, str]:
    """Key of a command → what the tool prints on a healthy node."""
    found = {"conf": npustub.hccn_conf(family, number)}
    for words, text in npustub.hccn_answers(family, number):
        _, device, what, *_ = words.split()
        found[f"\x1f{what.removeprefix('-')} {device}"] = text
    for words, text in npustub.smi_answers(family, number):
        if "spod-info" in words:
            *_, card, _, chip = words.split()
            found[f"spod {int(card) * 2 + int(chip)}"] = text
    return found


def scene(
    family: str = "a2",
    count: int = 2,
    devices: tuple[int, ...] = (),
    broken: Mapping[int, Answers] | None = None,
    **node: object,
) -> tuple[Scene, object]:
    """Healthy nodes n1 …; ``broken``: node → other answers; ``node``: fields of n2."""
    role = serve(nodes=tuple(f"n{n}" for n in range(1, count + 1)), dp=count)
    machines = tuple(replace(one, devices=devices or ALL[family]) for one in nodes(count))
    spec = cluster(role, hardware=A3 if family == "a3" else A2, nodes=machines)
    made = []
    for number in range(1, count + 1):
        texts = {**answers(family, number), **(broken or {}).get(number, {})}
        outputs = {key: {"out": value} if isinstance(value, str) else value for key, value in texts.items()}
        made.append(Node(f"n{number}", outputs=outputs, **(node if number == 2 else {})))
    return Scene(build(spec), *made), spec


def made_by(family: str = "a2", **given: object) -> str:
    made, spec = scene(family, **given)
    return make(made.job, spec)


def refused_by(family: str = "a2", **given: object) -> tuple[str, ...]:
    with pytest.raises(DplaunchError) as caught:
        made_by(family, **given)
    return caught.value.detail


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_two_healthy_nodes_give_the_table_of_the_golden_file(expect, family):
    expect(GOLDEN / f"two-{family}.json", made_by(family))


def test_only_the_devices_of_the_cluster_file_have_ranks_in_numeric_order():
    text = made_by("a3", devices=(10, 9, 3))
    assert [line.split('"')[3] for line in text.splitlines() if '"device_id"' in line] == ["3", "9", "10"] * 2
    assert [line.split('"')[3] for line in text.splitlines() if '"rank_id"' in line] == list("012345")


def test_between_super_pods_the_addresses_are_those_of_the_roce_ports():
    other = {f"spod {device}": npustub.spod((2 << 24) + device, pod=5, server=1) for device in range(16)}
    text = made_by("a3", broken={2: other})
    assert npustub.roce(1, 15) in text
    assert npustub.roce(2, 0) in text
    assert npustub.vnic(1, 0) not in text
    assert '"super_pod_id":"5"' in text


def test_where_hccl_is_told_to_avoid_hccs_the_addresses_are_those_of_the_roce_ports():
    made, spec = scene("a3")
    spec = replace(spec, roles=(replace(spec.roles[0], env={"HCCL_INTER_HCCS_DISABLE": "true"}),))
    text = make(made.job, spec)
    assert npustub.roce(2, 15) in text
    assert npustub.vnic(2, 15) not in text
    table = read_nodes(text, find_site(spec))
    check(made.job, spec, CheckOptions(table=table))
    pings = [one["argv"] for one in made.calls("survey")[-1]["n1"]["commands"] if "-ping" in one["argv"]]
    assert len(pings) == (32 * 31 // 2 - 16) // 2


def test_a_super_pod_whose_nodes_are_apart_in_the_file_is_refused_by_name():
    other = {f"spod {device}": npustub.spod((2 << 24) + device, pod=5, server=1) for device in range(16)}
    [line] = refused_by("a3", count=3, broken={2: other})
    assert "n1 and n3 of super pod 0" in line


def test_a_node_that_is_off_is_named_and_nothing_is_made():
    with pytest.raises(HostError) as caught:
        made_by(unreachable="n2 does not answer")
    assert (caught.value.node, caught.value.text) == ("n2", "n2 does not answer")


def test_a_node_that_is_lost_while_it_is_asked_is_named():
    with pytest.raises(HostError) as caught:
        made_by(breaks_at="survey", stays_away=True)
    assert caught.value.node == "n2"


@pytest.mark.parametrize(
    ("family", "answer", "words"),
    [
        ("a2", {"\x1fip 3": "no ip was preset in this port\n"}, "device 3: no address"),
        (
            "a2",
            {"\x1fip 3": f"ipaddr:{npustub.roce(1, 3)}\nnetmask:255.0.0.0\n", "conf": ""},
            "the same address",
        ),
        ("a2", {"\x1fip 3": "garbled"}, "ip 3: printed 'garbled'"),
        ("a2", {"\x1fip 3": {"code": None, "problem": "timed out after 4 s"}}, "timed out"),
        (
            "a3",
            {"\x1fvnic 9": "vnic link status: DOWN\nvnic ipaddr: 0.0.0.0\n"},
            "device 9: vnic link is DOWN",
        ),
        (
            "a3",
            {"spod 9": "garbled"},
            "device 9: no readable answer of npu-smi (spod 9: printed 'garbled')",
        ),
        ("a3", {"spod 9": npustub.spod(0xFFFFFFFF)}, "device 9: super pod is not configured"),
        ("a3", {"spod 9": npustub.spod(9, pod=4)}, "its devices are in super pods 0 and 4"),
    ],
)
def test_what_keeps_a_table_from_being_made_is_named_with_node_and_device(family, answer, words):
    [line] = refused_by(family, broken={2: answer})
    assert line.startswith("n2: ")
    assert words in line


def test_a_tool_that_does_not_answer_at_all_is_one_line_of_its_node():
    missing = {f"\x1fip {device}": {"code": 127, "err": "not found"} for device in range(8)}
    [line] = refused_by(broken={2: missing})
    assert line.startswith("n2: ")
    assert "hccn_tool" in line


class Slow(Node):
    """None of its commands ends in time."""

    def survey(self, survey: Mapping[str, object]) -> SurveyReply:
        del survey
        return SurveyReply(seconds=300.0)


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_a_node_whose_commands_do_not_end_in_time_is_named(family):
    made, spec = scene(family)
    late = Scene(build(spec), made.nodes["n1"], Slow("n2"))
    with pytest.raises(DplaunchError) as caught:
        make(late.job, spec)
    assert {line.partition(":")[0] for line in caught.value.detail} == {"n2"}


def test_two_devices_with_one_sdid_are_found_in_the_table_itself():
    with pytest.raises(SpecError) as caught:
        made_by("a3", broken={2: {"spod 9": npustub.spod(1 << 24, server=2)}})
    assert [problem.key for problem in caught.value.problems] == ["server_list[1].device[9].super_device_id"]


def test_a_node_without_a_role_has_no_entry():
    machines = nodes(3, devices=8)
    spec = cluster(serve(nodes=("n1", "n2"), dp=2), hardware=A2, nodes=machines)
    assert [node.name for node in list_nodes(spec)] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("role", "hardware", "word"),
    [
        (serve(nodes=("n1",)), A2, "needed"),
        (serve(nodes=("n1", "n2"), dp=2), GPU, "needed"),
        (serve(nodes=("n1", "n2"), dp=2), A5, "2.0"),
    ],
)
def test_a_cluster_without_a_table_of_hccl_is_refused_with_the_reason(role, hardware, word):
    with pytest.raises(UsageError, match=word):
        list_nodes(cluster(role, hardware=hardware, nodes=nodes(2, devices=8)))


def test_a_rehearsal_is_refused():
    made, spec = scene()
    rehearsal = Scene(build(spec, rehearse=True))
    with pytest.raises(UsageError, match="rehearsal"):
        make(rehearsal.job, spec)
    assert made.calls("open") == []


def checked_with(family: str, changes: Mapping[str, str], broken: Answers) -> list[tuple[str, str, str]]:
    """Level, node and text of what ``check`` finds about a table of healthy nodes, with changes in its text."""
    made, spec = scene(family)
    text = make(made.job, spec)
    for old, new in changes.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    later, spec = scene(family, broken={2: broken})
    options = CheckOptions(table=read_nodes(text, find_site(spec)))
    found = check(later.job, spec, options).findings
    return [(one.level.value, one.node, one.text) for one in found if one.probe == "npu.ranktable"]


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_a_table_of_healthy_nodes_is_as_they_report(family):
    count = len(ALL[family])
    text = f"{count} devices are as the rank table has them"
    assert checked_with(family, {}, {}) == [("ok", "n1", text), ("ok", "n2", text)]


def test_a_table_of_yesterday_is_found_by_address_and_by_sdid():
    now = {"\x1fip 3": "ipaddr:10.99.0.1\nnetmask:255.255.255.0\n"}
    _, (level, node, text) = checked_with("a2", {}, now)
    assert (level, node) == ("fail", "n2")
    assert text == f"device 3: the rank table has address {npustub.roce(2, 3)}, but the device has 10.99.0.1"
    _, (level, node, text) = checked_with("a3", {str(2 << 24): "77"}, {})
    assert (level, node) == ("fail", "n2")
    assert text == f"device 0: the rank table has super_device_id 77, but the device has {2 << 24}"


def test_a_node_that_is_off_is_not_compared():
    made, spec = scene(unreachable="n2 is off")
    healthy, _ = scene()
    table = read_nodes(make(healthy.job, spec), find_site(spec))
    found = check(made.job, spec, CheckOptions(table=table)).findings
    assert [one.node for one in found if one.probe == "npu.ranktable"] == ["n1"]
    assert [one.node for one in found if one.level is Level.FAIL and one.probe == "host.login"] == ["n2"]


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_what_was_made_is_read_back(family):
    made, spec = scene(family)
    table = read_nodes(make(made.job, spec), find_site(spec))
    assert [node.name for node in table] == ["n1", "n2"]
    last = table[1].devices[-1]
    address = npustub.roce if family == "a2" else npustub.vnic
    assert (last.number, last.address) == (ALL[family][-1], address(2, last.number))
    assert last.pod == (None if family == "a2" else 0)


def datadist(family: str) -> tuple[Scene, ClusterSpec]:
    """n1 prefills and n2 decodes with the connector that reads a table of its own; n2 has two devices."""
    roles = [RoleSpec(name=name, nodes=(node,), dp=2) for name, node in (("prefill", "n1"), ("decode", "n2"))]
    transfer = KvTransferSpec(connector="LLMDataDistCMgrConnector", rank_table="/etc/ranktable.json")
    machines = tuple(replace(one, devices=(10, 9) if one.name == "n2" else (0, 1, 2)) for one in nodes(2))
    hardware = A3 if family == "a3" else A2
    spec = cluster(*roles, version="0.9.1", hardware=hardware, nodes=machines, kv_transfer=transfer)
    made = [
        Node(f"n{number}", outputs={key: {"out": text} for key, text in answers("a3", number).items()})
        for number in (1, 2)
    ]
    return Scene(build(spec), *made), spec


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_the_table_of_llmdatadist_has_the_devices_that_engines_use_by_role(expect, family):
    made, spec = datadist(family)
    text = make(made.job, spec)
    expect(GOLDEN / f"datadist-{family}.json", text)
    table = read_nodes(text, find_site(spec))
    assert [(node.name, [one.number for one in node.devices]) for node in table] == [
        ("n1", [0, 1]),
        ("n2", [10, 9]),
    ]
