"""One broken thing, one finding: its probe, its level, its node, its device; over all NPU probes together."""

from __future__ import annotations

import npustub
import pytest
from msgspec.structs import replace
from npuworld import CONF, World, an_engine, faults, without_devices
from specs import CPU, GPU, MOONCAKE

from dplaunch.model.check import Level, Output
from dplaunch.model.cluster import Container, RoleSpec
from dplaunch.probes import npu, npu_devices, npu_links
from dplaunch.probes.npu_ping import make_ping_probe
from dplaunch.words import plural

FAIL, WARN = Level.FAIL, Level.WARN
HUNG = Output(problem="timed out after 4 s")
MISSING = Output(code=127, err="sh: 1: exec: not found")
NO_FILE = Output(code=1, err="cat: /etc/hccn.conf: No such file or directory\n")
FOLDER = Output(code=1, err="cat: /etc/hccn.conf: Is a directory\n")
UNSET_IP = Output(code=13, out="Get ipconf failed, because no ip was preset there!\n")
UNSET_GATEWAY = "Get gateway failed, because no gateway was preset there!\n"
DENIED = Output(code=1, out="permission denied: pls check this cmd run permission.\n")


def conf(family, old, new=""):
    return npustub.hccn_conf(family, 2).replace(old, new)


def info(family, **changes):
    return npustub.smi_info(family, **changes)


def spod(node, device, **changes):
    card, chip = divmod(device, 2)
    return npustub.spod((node << 24) + (card << 18) + (chip << 16), **{"server": node, **changes})


@pytest.mark.parametrize("family", ["a2", "a3"])
@pytest.mark.parametrize("all_pairs", [False, True])
def test_healthy_nodes_have_one_good_finding_per_probe(family, all_pairs):
    findings = World(family, 2).findings(all_pairs=all_pairs)
    assert {finding.level for finding in findings} == {Level.OK}
    others = {"a2": ("npu.superpod", "npu.links"), "a3": ("npu.links",)}[family]
    names = [probe.name for probe in npu.PROBES if probe.name not in others]
    assert sorted(f.probe for f in findings if f.node == "n2") == sorted(
        [*names, "npu.ping"][: len(names) + 1]
    )
    assert all(finding.node not in finding.text for finding in findings)


LINK = ("hccn_tool -i 3 -link -g", "link status: DOWN\n")
BOTH = [
    (*LINK, "npu.network", FAIL, "device 3: link is DOWN"),
    (
        "hccn_tool -i 3 -net_health -g",
        "net health status: Unreachable\n",
        "npu.network",
        FAIL,
        "device 3: net health is Unreachable",
    ),
    (
        "hccn_tool -i 3 -net_health -g",
        "net health status: Init\n",
        "npu.network",
        WARN,
        "device 3: net health is Init",
    ),
    (
        "hccn_tool -i 3 -netdetect -g",
        "netdetect address: 0.0.0.0\n",
        "npu.network",
        WARN,
        "device 3: no netdetect address",
    ),
    ("hccn_tool -i 3 -lldp -g", "", "npu.network", WARN, "device 3: the switch does not announce its port"),
    (
        "hccn_tool -i 3 -gateway -g",
        "default gateway:10.20.9.254, Iface:eth3\n",
        "npu.network",
        FAIL,
        "device 3: gateway is 10.20.9.254, but /etc/hccn.conf has 10.20.3.254",
    ),
    ("hccn_tool -i 3 -gateway -g", UNSET_GATEWAY, "npu.network", FAIL, "device 3: gateway is not set"),
    ("hccn_tool -i 3 -tls -g", npustub.tls(3, 1), "npu.tls", FAIL, "device 3: TLS is on, but most devices"),
    (CONF, NO_FILE, "npu.conf", FAIL, "/etc/hccn.conf is missing"),
    (CONF, FOLDER, "npu.conf", FAIL, "/etc/hccn.conf is a folder"),
    (CONF, "", "npu.conf", FAIL, "/etc/hccn.conf holds no address"),
]
EVERYWHERE = [
    ("hccn_tool", MISSING, "npu.network", FAIL, "hccn_tool: not found"),
    ("hccn_tool", DENIED, "npu.network", WARN, "hccn_tool: not allowed"),
    ("hccn_tool", HUNG, "npu.network", WARN, "hccn_tool: timed out after 4 s"),
    ("npu-smi", MISSING, "npu.devices", FAIL, "npu-smi: not found"),
    ("npu-smi", HUNG, "npu.devices", WARN, "npu-smi: timed out after 4 s"),
    ("hccn_tool -i 3 -link -g", HUNG, "npu.network", WARN, "could not be read: link 3: timed out after 4 s"),
    (
        "hccn_tool -i 3 -link -g",
        "link stat",
        "npu.network",
        WARN,
        "could not be read: link 3: printed 'link stat'",
    ),
    ("hccn_tool -i 3 -tls -g", "\0\1\2", "npu.tls", WARN, "could not be read: tls 3: printed"),
    ("npu-smi info -l", HUNG, "npu.devices", WARN, "could not be read: npu-smi info -l: timed out"),
]
ON_A2 = [
    ("hccn_tool -i 3 -ip -g", UNSET_IP, "npu.address", FAIL, "device 3: no address"),
    (
        "hccn_tool -i 3 -ip -g",
        "ipaddr:10.20.3.77\nnetmask:255.255.255.0\n",
        "npu.address",
        FAIL,
        "device 3: address is 10.20.3.77, but /etc/hccn.conf has 10.20.3.2",
    ),
    (CONF, conf("a2", "address_3=", "adress_3="), "npu.address", FAIL, "device 3: address is 10.20.3.2, but"),
    ("npu-smi info", info("a2", health={3: "Alarm"}), "npu.devices", FAIL, "device 3: health is Alarm"),
    ("npu-smi info", info("a2", health={3: "Warning"}), "npu.devices", WARN, "device 3: health is Warning"),
    ("npu-smi info", info("a2", missing=(3,)), "npu.devices", FAIL, "only 7 of 8 devices: device 3 missing"),
    (
        "npu-smi info",
        info("a2", used={3: 57344}, holders={3: (4242, "python3")}),
        "npu.devices",
        FAIL,
        "device 3: 56.0 GB of HBM in use by python3 (pid 4242)",
    ),
    (
        "npu-smi info",
        info("a2", used={3: 57344, 4: 57344}),
        "npu.devices",
        FAIL,
        "devices 3-4: 56.0 GB of HBM in use by a process outside this container",
    ),
    (
        "npu-smi info",
        info("a2", used={3: 57344}, holders={3: (4242, "")}),
        "npu.devices",
        FAIL,
        "device 3: 56.0 GB of HBM in use by a process outside this container (pid 4242)",
    ),
    ("npu-smi info", info("a2")[:1200], "npu.devices", WARN, "could not be read: npu-smi info: printed"),
    (
        "hccn_tool -i 3 -ping -g address any",
        npustub.ping(3, 3),
        "npu.ping",
        FAIL,
        "device 3 and device 3 on n3: no ping answered (recv time out seq=0)",
    ),
    (
        "hccn_tool -i 3 -ping -g address any",
        npustub.ping(3, 1),
        "npu.ping",
        WARN,
        "device 3 and device 3 on n3: 33 % of pings lost",
    ),
    (
        "hccn_tool -i 3 -ping -g address any",
        HUNG,
        "npu.ping",
        WARN,
        "could not be read: ping 3 n3 3: timed out",
    ),
]
ON_A3 = [
    (
        "hccn_tool -i 3 -vnic -g",
        "vnic link status: UP\nvnic ipaddr: 0.0.0.0\n",
        "npu.address",
        FAIL,
        "device 3: no vnic address",
    ),
    (
        "hccn_tool -i 3 -vnic -g",
        "vnic link status: DOWN\nvnic ipaddr: 192.168.2.103\n",
        "npu.address",
        FAIL,
        "device 3: vnic link is DOWN",
    ),
    ("hccn_tool -i 3 -ip -g", UNSET_IP, "npu.network", WARN, "device 3: no RoCE address is set"),
    (
        "npu-smi info",
        info("a3", missing=(3,)),
        "npu.devices",
        FAIL,
        "only 15 of 16 devices: device 3 missing",
    ),
    (
        "npu-smi info -t spod-info -i 1 -c 1",
        spod(2, 3, pod=1),
        "npu.superpod",
        FAIL,
        "device 3: super pod is 1",
    ),
    (
        "npu-smi info -t spod-info -i 1 -c 1",
        spod(1, 3, server=2),
        "npu.superpod",
        FAIL,
        "device 3 has the same SDID as device 3",
    ),
    (
        "npu-smi info -t spod-info -i 1 -c 1",
        spod(2, 3, server=9),
        "npu.superpod",
        FAIL,
        "device 3: server index is 9",
    ),
    (
        "npu-smi info -t spod-info -i 1 -c 1",
        npustub.spod(0xFFFFFFFF),
        "npu.superpod",
        WARN,
        "device 3: super pod is not",
    ),
    (
        "npu-smi info -t spod-info -i 1 -c 1",
        "\tSDID",
        "npu.superpod",
        WARN,
        "could not be read: spod 3: printed",
    ),
    (
        "hccn_tool -i 3 -hccs_ping -g address any",
        npustub.hccs_ping(3, 3),
        "npu.ping",
        FAIL,
        "device 3 and device 3 on n3: no ping answered (This pkt check recv msg fail!)",
    ),
]
CASES = [
    *[("a2", *case) for case in (*BOTH, *EVERYWHERE, *ON_A2)],
    *[("a3", *case[:3], FAIL if case[2] == "npu.tls" else WARN, case[4]) for case in BOTH],
    *[("a3", *case) for case in (*EVERYWHERE, *ON_A3)],
]


@pytest.mark.parametrize(("family", "call", "answer", "wanted"), [(*case[:3], case[3:]) for case in CASES])
def test_one_broken_answer_is_one_finding(family, call, answer, wanted):
    probe, level, text = wanted
    [found] = faults(World(family, breaks={(2, call): answer}).findings())
    assert (found.probe, found.level, found.node) == (probe, level, "n2")
    assert found.text.startswith(text)
    assert found.remedy


def test_a_port_that_is_down_is_reported_once_with_all_its_effects():
    breaks = {
        (2, LINK[0]): LINK[1],
        (2, "hccn_tool -i 3 -net_health -g"): "net health status: Fault\n",
        (2, "hccn_tool -i 3 -lldp -g"): "",
    }
    world = World("a2", breaks=breaks)
    [found] = faults(world.findings())
    assert found.text == "device 3: link is DOWN"
    assert not [call for _, call in world.asked if "-ping" in call and npustub.roce(2, 3) in call]


def test_a_device_without_address_is_reported_once_with_all_its_effects():
    breaks = {
        (2, "hccn_tool -i 3 -ip -g"): UNSET_IP,
        (2, "hccn_tool -i 3 -gateway -g"): UNSET_GATEWAY,
        (2, "hccn_tool -i 3 -net_health -g"): "net health status: Init\n",
    }
    [found] = faults(World("a2", breaks=breaks).findings())
    assert (found.probe, found.text) == ("npu.address", "device 3: no address")
    assert found.fix == "hccn_tool -i 3 -ip -s address 10.20.3.2 netmask 255.255.255.0"


def test_without_conf_a_gateway_is_checked_against_the_devices_own_network():
    outside = "default gateway:10.20.9.254, Iface:eth3\n"
    breaks = {(2, CONF): NO_FILE, (2, "hccn_tool -i 3 -gateway -g"): outside}
    texts = [found.text for found in faults(World("a2", breaks=breaks).findings())]
    assert texts == [
        "/etc/hccn.conf is missing",
        "device 3: gateway 10.20.9.254 is outside the network 10.20.3.2/255.255.255.0",
    ]


def test_an_a3_without_cables_is_one_warning_per_node_and_pings():
    breaks = {}
    for node in (1, 2):
        for device in range(16):
            breaks[node, f"hccn_tool -i {device} -link -g"] = "link status: DOWN\n"
            breaks[node, f"hccn_tool -i {device} -net_health -g"] = "net health status: Fault\n"
            breaks[node, f"hccn_tool -i {device} -lldp -g"] = ""
    findings = World("a3", 2, breaks).findings()
    assert [(f.level, f.node, f.text) for f in faults(findings)] == [
        (WARN, "n1", "devices 0-15: link is DOWN"),
        (WARN, "n2", "devices 0-15: link is DOWN"),
    ]
    assert [f.text for f in findings if f.probe == "npu.ping"] == ["16 of 16 pings answered"] * 2


def test_one_address_on_two_nodes_is_reported_for_the_second():
    breaks = {(2, "hccn_tool -i 3 -vnic -g"): "vnic link status: UP\nvnic ipaddr: 192.168.1.103\n"}
    [found] = faults(World("a3", breaks=breaks).findings())
    assert (found.node, found.text) == ("n2", "device 3 has the same address as device 3 on n1")


def test_a_cloned_node_is_one_finding():
    breaks = {
        (2, f"npu-smi info -t spod-info -i {device // 2} -c {device % 2}"): spod(1, device)
        for device in range(16)
    }
    [found] = faults(World("a3", breaks=breaks).findings())
    assert (found.node, found.text) == ("n2", "devices 0-15 have the same SDID as devices 0-15 on n1")


def test_a_node_of_another_super_pod_is_one_finding():
    breaks = {
        (3, f"npu-smi info -t spod-info -i {device // 2} -c {device % 2}"): spod(3, device, pod=7)
        for device in range(16)
    }
    world = World("a3", breaks=breaks)
    [found] = faults(world.findings())
    assert (found.node, found.text) == (
        "n3",
        "devices 0-15: super pod is 7, but 0 on most devices of its group",
    )
    assert not [call for node, call in world.asked if node == "n3" and "hccs_ping" in call]


def test_two_nodes_of_one_server_index_are_one_finding():
    breaks = {
        (2, f"npu-smi info -t spod-info -i {device // 2} -c {device % 2}"): spod(2, device, server=1)
        for device in range(16)
    }
    [found] = faults(World("a3", breaks=breaks).findings())
    assert (found.node, found.text) == ("n2", "server index is 1, the same as that of n1")


def test_tls_off_on_one_node_of_many_has_a_remedy_for_the_others():
    breaks = {
        (node, f"hccn_tool -i {device} -tls -g"): npustub.tls(device, 1)
        for node in (1, 3)
        for device in range(8)
    }
    [found] = faults(World("a2", breaks=breaks).findings())
    assert (found.node, found.text) == (
        "n2",
        "devices 0-7: TLS is off, but most devices have it on",
    )
    assert (found.fix, "all devices where it is on" in found.remedy) == ("", True)


def test_memory_of_our_own_processes_is_not_a_finding():
    answer = info("a2", used={3: 57344}, holders={3: (4242, "VLLMWorker_TP")})
    world = World("a2", breaks={(2, "npu-smi info"): answer})
    world.targets[1] = replace(world.targets[1], ours=frozenset({4242}))
    assert faults(world.findings()) == []


def test_processes_without_a_name_are_not_a_finding_while_our_own_run():
    world = World("a2", breaks={(2, "npu-smi info"): info("a2", used={3: 57344}, holders={3: (99, "")})})
    world.targets[1] = replace(world.targets[1], ours=frozenset({4242}))
    assert faults(world.findings()) == []


def test_a_device_that_no_engine_needs_may_be_missing_or_in_use():
    world = World("a2", breaks={(2, "npu-smi info"): info("a2", used={3: 57344}, missing=(5,))})
    without_devices(world, 2)
    [found] = faults(world.findings())
    assert (found.level, found.text) == (WARN, "only 7 of 8 devices: device 5 missing")


def test_in_a_container_the_missing_file_is_to_be_mounted():
    world = World("a2", breaks={(2, CONF): NO_FILE}, container=Container("vllm"))
    [found] = faults(world.findings())
    assert "-v /etc/hccn.conf:/etc/hccn.conf:ro" in found.remedy


@pytest.mark.parametrize("hardware", [GPU, CPU])
def test_nodes_without_npus_run_no_commands(hardware):
    world = World("a2")
    world.spec = replace(world.spec, hardware=hardware)
    target = replace(world.targets[0], spec=world.spec)
    commands = [
        c for probe in (*npu.PROBES, make_ping_probe(all_pairs=True)) for c in probe.commands(target, {})
    ]
    assert commands == [], plural(len(commands), "command")


def test_calls_of_a_tool_share_a_lane_and_have_a_timeout():
    target = World("a3").targets[0]
    commands = [command for probe in npu.PROBES for command in probe.commands(target, {})]
    lanes = {
        command.argv[2].rpartition("exec ")[2].split()[0]: command.lane
        for command in commands
        if command.lane
    }
    assert lanes == {"hccn_tool": "hccn", "npu-smi": "npu-smi"}
    assert max(command.timeout for command in commands if command.lane == "hccn") <= 5
    assert {command.again for command in commands if command.lane == "hccn"} == {"hccn_tool is busy"}


USED = (4, 5, 6, 7)
FIRST_ARE_BAD = {(1, "npu-smi info"): info("a2", missing=(2,), health={0: "Alarm"})}


def test_devices_that_the_file_leaves_out_are_neither_asked_nor_judged():
    world = World("a2", 2, FIRST_ARE_BAD, devices=USED)
    assert faults(world.findings()) == []
    asked = {call.split()[2] for _, call in world.asked if call.startswith("hccn_tool")}
    assert asked == {"4", "5", "6", "7"}


def test_a_device_without_a_seat_is_only_a_warning():
    world = World("a2", 1, FIRST_ARE_BAD)
    target = world.targets[0]
    seated = replace(target.plan, processes=(an_engine(target.node, USED),))
    world.targets[0] = replace(target, plan=seated)
    assert {(f.level, f.text) for f in faults(world.findings([npu_devices.PROBE]))} == {
        (WARN, "only 7 of 8 devices: device 2 missing"),
        (WARN, "device 0: health is Alarm"),
    }


def test_half_a_node_is_reported_by_its_devices():
    world = World("a2", 1, devices=USED)
    [good] = [f for f in world.findings([npu_devices.PROBE]) if f.probe == "npu.devices"]
    assert good.text.startswith("devices 4-7 of 8 × ")


ALL_DOWN = {(1, f"hccn_tool -i {device} -link -g"): "link status: DOWN\n" for device in range(8)}
HCCN = ("npu.network", "npu.address", "npu.tls", "npu.conf")


def test_a_single_machine_needs_no_cable():
    breaks = {**ALL_DOWN, (1, CONF): NO_FILE}
    world = World("a2", 1, breaks)
    found = world.findings()
    assert faults(found) == []
    assert not {finding.probe for finding in found} & set(HCCN)
    assert not [call for _, call in world.asked if "hccn" in call]


def test_prefill_and_decode_on_two_machines_need_one():
    two = tuple(
        RoleSpec(name=name, nodes=(node,), dp=8) for name, node in (("prefill", "n1"), ("decode", "n2"))
    )
    world = World("a2", 2, ALL_DOWN, roles=two, kv_transfer=MOONCAKE)
    assert ("n1", FAIL, "devices 0-7: link is DOWN") in {
        (f.node, f.level, f.text) for f in faults(world.findings())
    }


def test_groups_of_one_node_each_neither_ping_nor_share_a_super_pod():
    breaks = {
        (2, f"npu-smi info -t spod-info -i {device // 2} -c {device % 2}"): spod(1, device, pod=7)
        for device in range(16)
    }
    role = RoleSpec(name="serve", nodes=("n1", "n2"), groups=2, dp=16)
    world = World("a3", 2, breaks, roles=(role,))
    assert faults(world.findings()) == []
    assert not [call for _, call in world.asked if "ping" in call or "spod" in call]


def test_super_pods_are_compared_within_groups_and_only_a_warning_where_kv_goes():
    breaks = {
        (node, f"npu-smi info -t spod-info -i {device // 2} -c {device % 2}"): spod(node - 2, device, pod=7)
        for node in (3, 4)
        for device in range(16)
    }
    two = (
        RoleSpec(name="prefill", nodes=("n1", "n2"), dp=32),
        RoleSpec(name="decode", nodes=("n3", "n4"), dp=32),
    )
    world = World("a3", 4, breaks, roles=two, kv_transfer=MOONCAKE)
    found = faults(world.findings())
    assert {(f.probe, f.level, f.node) for f in found} == {
        ("npu.superpod", WARN, "n3"),
        ("npu.superpod", WARN, "n4"),
    }


def a5_world(breaks=None):
    world = World("a2", 2, breaks)
    spec = replace(world.spec, hardware=replace(world.spec.hardware, family="a5"))
    world.targets = [replace(target, spec=spec) for target in world.targets]
    return world


def test_an_a5_has_devices_ports_and_links_to_look_at():
    assert {finding.probe for finding in a5_world().findings()} == {"npu.devices", "npu.network", "npu.links"}


def test_faults_of_an_a5s_ports_are_warnings():
    world = a5_world({(1, LINK[0]): LINK[1]})
    [found] = [f for f in world.findings() if f.probe == "npu.network" and f.level is not Level.OK]
    assert (found.level, found.node) == (WARN, "n1")
    assert found.remedy.startswith("only if data leaves the node through these ports")


def test_files_that_describe_the_links_of_an_a5_must_be_there():
    target = a5_world().targets[0]
    [command] = npu_links.PROBE.commands(target, {})
    seen = {
        name: npu_links.PROBE.parse(target, {command.key: Output(code=0, out=out)})
        for name, out in (
            ("n1", "/lib/route.conf\n/etc/hccl_rootinfo.json\n/etc/hixlep\n"),
            ("n2", "/etc/hixlep\n"),
        )
    }
    good, bad = npu_links.PROBE.judge([target], seen)
    assert (good.level, bad.level, bad.node) == (Level.OK, Level.FAIL, "n2")
    assert "/lib/route.conf, /etc/hccl_rootinfo.json" in bad.text
