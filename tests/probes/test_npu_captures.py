"""Every capture is parsed, and gives what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import A2, A3, GPU, cluster, serve

from dplaunch.model.check import Output
from dplaunch.model.plan import NodePlan
from dplaunch.probes import ascend, gpu, hccn, hccn_conf, npu, npu_smi
from dplaunch.probes.outputs import clean
from dplaunch.probes.probe import ProbeTarget

CAPTURES = Path(__file__).parent / "captures"
FOLDERS = ("npu-smi", "hccn_tool", "hccn.conf", "nvidia-smi")


def healths(text: str) -> dict[int, str]:
    return {chip.device: chip.health for chip in npu_smi.parse_chips(text)}


def ill(text: str) -> dict[int, str]:
    return {device: health for device, health in healths(text).items() if health != "OK"}


def full(text: str) -> dict[int, int]:
    return {chip.device: chip.used for chip in npu_smi.parse_chips(text) if chip.used > 5120}


def held(text: str) -> list[tuple[int, int, int, str]]:
    return [(row.card, row.chip, row.pid, row.name) for row in npu_smi.parse_holders(text)]


def summary(text: str) -> tuple[int, str, bool]:
    found = npu_smi.parse_chips(text)
    return len(found), found[0].name if found else "", npu_smi.is_cut_off(text)


def trouble(text: str) -> str:
    return ascend.find_trouble(Output(code=1, out=text))


def numbers(text: str) -> list[int]:
    return [device for device, _ in npu_smi.parse_map(text)]


def gpu_numbers(text: str) -> list[tuple[int, int]]:
    return [(row["index"], row["used"]) for row in gpu.parse_gpus(text)]


def sick(text: str) -> str:
    return gpu.find_defect(Output(code=9, out=text))


def gpu_holders(text: str) -> list[tuple[str, int, str]]:
    return [(row["uuid"][:12], row["pid"], row["name"]) for row in gpu.parse_apps(text)]


def addresses(text: str) -> dict[str, str]:
    return {
        device: entry["address"] for device, entry in hccn_conf.parse_conf(text).items() if "address" in entry
    }


Case = tuple[str, Callable[[str], Any], Any]
NO = "not supported by this driver or device"
WORKERS = [(device, 0, 669096 + device, "VLLMWorker_TP") for device in range(4)]
IP_A2 = {"address": "10.10.100.10", "netmask": "255.255.255.0"}
VNIC = {"address": "192.168.2.199", "netmask": "255.255.255.0"}
LOST = "recv time out seq=0"
UNREACHABLE = "Destination Host Unreachable"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
HANDLE = "Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error"

NPU_SMI: list[Case] = [
    ("info-a2-idle", summary, (8, "910B3", False)),
    ("info-a2-idle", full, {}),
    ("info-a2-idle", held, []),
    ("info-a2-held", lambda text: list(full(text)), [0, 1, 2, 3]),
    ("info-a2-held", held, WORKERS),
    ("info-a2-container", full, {6: 61240, 7: 61238}),
    ("info-a2-container", held, []),
    ("info-a2-nameless", full, {2: 41110}),
    ("info-a2-nameless", held, [(2, 0, 1333928, "")]),
    ("info-a2-ill", ill, {3: "Alarm", 5: "Warning"}),
    ("info-a2-seven", lambda text: list(healths(text)), [0, 1, 2, 3, 5, 6, 7]),
    ("info-a3-idle", summary, (16, "Ascend910", False)),
    (
        "info-a3-idle",
        lambda text: [(c.card, c.chip) for c in npu_smi.parse_chips(text)][2:5],
        [(1, 0), (1, 1), (2, 0)],
    ),
    ("info-a3-held", full, {0: 53230, 1: 53226, 9: 50133}),
    (
        "info-a3-held",
        held,
        [(0, 0, 3325989, "python3"), (0, 1, 3328327, "python3"), (4, 1, 3330598, "VLLMEngineCor")],
    ),
    ("info-a3-ill", ill, {2: "Critical", 11: "UNKNOWN"}),
    ("info-a3-cut-in-row", summary, (7, "Ascend910", True)),
    ("info-a2-cut-in-processes", summary, (8, "910B3", True)),
    ("info-a2-cut-in-processes", held, []),
    ("info-a2-nul-and-colours", summary, (8, "910B3", False)),
    ("info-binary", summary, (0, "", True)),
    ("info-driver-silent", trouble, "the driver does not answer"),
    ("info-no-library", trouble, "a shared library is missing"),
    ("list-a2", npu_smi.parse_list, (8, 8)),
    ("list-a3", npu_smi.parse_list, (8, 16)),
    ("list-card-count", npu_smi.parse_list, (1, 1)),
    ("list-cut", npu_smi.parse_list, (8, 0)),
    ("map-a2", npu_smi.parse_map, [(device, "Ascend 910B3") for device in range(8)]),
    ("map-a3", npu_smi.parse_map, [(device, "Ascend910") for device in range(16)]),
    ("map-cut", numbers, [0, 1]),
    ("spod-a3", npu_smi.parse_super_pod, {"sdid": 16777216, "size": 384, "pod": 0, "server": 4}),
    ("spod-zero", npu_smi.parse_super_pod, {"sdid": 0, "size": 384, "pod": 0, "server": 0}),
    ("spod-unset", npu_smi.parse_super_pod, {"sdid": 4294967295, "size": 384, "pod": 65535, "server": 65535}),
    ("spod-cells", npu_smi.parse_super_pod, {"sdid": 50593792, "size": 384, "pod": 3, "server": 12}),
    ("spod-cut", npu_smi.parse_super_pod, {"sdid": 16777216, "size": 384}),
    ("spod-unsupported", npu_smi.parse_super_pod, {}),
    ("spod-unsupported", trouble, NO),
]

HCCN_TOOL: list[Case] = [
    ("link-up", hccn.parse_link, "UP"),
    ("link-down", hccn.parse_link, "DOWN"),
    ("link-cut", hccn.parse_link, None),
    ("link-binary", hccn.parse_link, None),
    ("net_health-success", hccn.parse_net_health, "Success"),
    ("net_health-init", hccn.parse_net_health, "Init"),
    ("net_health-unreachable", hccn.parse_net_health, "Unreachable"),
    ("net_health-receive-timeout", hccn.parse_net_health, "Receive timeout"),
    ("net_health-fault", hccn.parse_net_health, "Fault"),
    ("net_health-detect-ip-set", hccn.parse_net_health, "Detect ip set"),
    ("net_health-cut", hccn.parse_net_health, None),
    ("net_health-new-word", hccn.parse_net_health, None),
    ("netdetect-set", hccn.parse_netdetect, "11.12.165.1"),
    ("netdetect-unset", hccn.parse_netdetect, ""),
    ("netdetect-cut", hccn.parse_netdetect, None),
    ("gateway-set", hccn.parse_gateway, "11.12.165.1"),
    ("gateway-unset", hccn.parse_gateway, ""),
    ("gateway-cut", hccn.parse_gateway, None),
    ("lldp-on", hccn.parse_lldp, "400GE1/1/5:1"),
    ("lldp-off", hccn.parse_lldp, ""),
    ("lldp-cut", hccn.parse_lldp, None),
    ("ip-set", hccn.parse_ip, IP_A2),
    ("ip-unset", hccn.parse_ip, {"address": "", "netmask": ""}),
    ("ip-cut", hccn.parse_ip, None),
    ("vnic-up", hccn.parse_vnic, {**VNIC, "link": "UP"}),
    ("vnic-up", hccn.parse_link, None),
    ("vnic-down", hccn.parse_vnic, {**VNIC, "link": "DOWN"}),
    ("vnic-unset", hccn.parse_vnic, {"address": "", "netmask": "", "link": "UP"}),
    ("vnic-cut", hccn.parse_vnic, None),
    ("tls-off", hccn.parse_tls, 0),
    ("tls-on", hccn.parse_tls, 1),
    ("tls-cut", hccn.parse_tls, None),
    ("ping-good", hccn.parse_ping, {"lost": 0, "error": ""}),
    ("ping-one-lost", hccn.parse_ping, {"lost": 33, "error": LOST}),
    ("ping-all-lost", hccn.parse_ping, {"lost": 100, "error": LOST}),
    ("ping-unreachable", hccn.parse_ping, {"lost": 100, "error": UNREACHABLE}),
    ("ping-too-long", hccn.parse_ping, {"lost": 100, "error": "Message too long"}),
    ("ping-cut", hccn.parse_ping, None),
    ("ping-cut-while-lost", hccn.parse_ping, {"lost": 100, "error": LOST}),
    ("hccs_ping-good", hccn.parse_ping, {"lost": 0, "error": ""}),
    ("hccs_ping-lost", hccn.parse_ping, {"lost": 100, "error": "This pkt check recv msg fail!"}),
    ("hccs_ping-not-started", hccn.parse_ping, {"lost": 100, "error": "This pkt ping not start to send!"}),
    ("hccs_ping-send-fail", hccn.parse_ping, {"lost": 100, "error": "This pkt send fail!"}),
    ("hccs_ping-unsupported", hccn.parse_ping, None),
    ("hccs_ping-unsupported", trouble, NO),
    ("busy", trouble, "busy"),
    ("denied-user", trouble, "not allowed"),
    ("denied-container", trouble, "not allowed in this container or virtual machine"),
    ("failed", trouble, "the command failed"),
    ("no-device", trouble, "no such device"),
]

HCCN_CONF: list[Case] = [
    ("a2", addresses, {str(device): f"10.20.{device}.1" for device in range(8)}),
    (
        "a2",
        lambda text: hccn_conf.parse_conf(text)["7"],
        {
            "address": "10.20.7.1",
            "netmask": "255.255.255.0",
            "netdetect": "10.20.7.254",
            "gateway": "10.20.7.254",
        },
    ),
    ("a3", addresses, {str(device): f"10.20.{device}.2" for device in range(16)}),
    (
        "written-by-hand",
        hccn_conf.parse_conf,
        {"0": {"address": "29.1.137.205", "netmask": "255.255.0.0", "gateway": "29.1.0.1"}},
    ),
    ("cut", addresses, {"0": "10.20.0.1", "1": "10.20.1.1"}),
    ("empty", hccn_conf.parse_conf, {}),
    ("binary", hccn_conf.parse_conf, {}),
    ("other-file", hccn_conf.parse_conf, {}),
]

NVIDIA_SMI: list[Case] = [
    ("gpus-idle", gpu_numbers, [(index, 4) for index in range(8)]),
    ("gpus-idle", lambda text: gpu.parse_gpus(text)[0]["name"], "NVIDIA H100 80GB HBM3"),
    ("gpus-held", lambda text: gpu_numbers(text)[2:4], [(2, 71034), (3, 71030)]),
    ("gpus-seven", lambda text: [index for index, _ in gpu_numbers(text)], [0, 1, 2, 3, 4, 6, 7]),
    ("gpus-none", gpu_numbers, []),
    ("gpus-cut", gpu_numbers, [(0, 4), (1, 4), (2, 4)]),
    ("gpus-not-available", gpu_numbers, []),
    ("gpus-binary", gpu_numbers, []),
    (
        "driver-silent",
        lambda text: sick(text)[:57],
        "NVIDIA-SMI has failed because it couldn't communicate wit",
    ),
    ("driver-mismatch", sick, MISMATCH),
    ("gpu-lost", sick, HANDLE),
    ("gpu-lost", gpu_numbers, [(0, 4), (1, 4)]),
    (
        "apps-two",
        gpu_holders,
        [("GPU-00000002", 4711, "/usr/bin/python3"), ("GPU-00000003", 4712, "VLLM::Worker_TP1")],
    ),
    ("apps-hidden", gpu_holders, [("GPU-00000002", 4711, "")]),
    ("apps-none", gpu_holders, []),
    ("apps-cut", gpu_holders, []),
]

CASES = [
    pytest.param(folder, *case, id=f"{folder}/{case[0]}-{number}")
    for folder, cases in zip(FOLDERS, (NPU_SMI, HCCN_TOOL, HCCN_CONF, NVIDIA_SMI), strict=True)
    for number, case in enumerate(cases)
]


def captured(folder: str, name: str) -> str:
    return clean((CAPTURES / folder / f"{name}.txt").read_bytes().decode(errors="replace"))


@pytest.mark.parametrize(("folder", "name", "parser", "wanted"), CASES)
def test_a_capture_is_read(folder, name, parser, wanted):
    assert parser(captured(folder, name)) == wanted


def test_every_capture_is_some_case():
    there = {(path.parent.name, path.stem) for folder in FOLDERS for path in (CAPTURES / folder).iterdir()}
    assert there == {(case.values[0], case.values[1]) for case in CASES}
    assert len(there) >= 80


PARSERS = [
    hccn.parse_link,
    hccn.parse_net_health,
    hccn.parse_netdetect,
    hccn.parse_gateway,
    hccn.parse_lldp,
    hccn.parse_ip,
    hccn.parse_vnic,
    hccn.parse_tls,
    hccn.parse_ping,
    hccn_conf.parse_conf,
    npu_smi.parse_chips,
    npu_smi.parse_holders,
    npu_smi.parse_list,
    npu_smi.parse_map,
    npu_smi.parse_super_pod,
    npu_smi.is_cut_off,
    gpu.parse_gpus,
    gpu.parse_apps,
]
PIECES = st.sampled_from(
    [
        "| 0     910B3               | OK            | 93.2        35                0    / 0             |\n",
        "| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3105 / 65536         |\n",
        "| 0       0                 | 669096        | VLLMWorker_TP            | 55124                   |\n",
        "link status: ",
        "default gateway:",
        "ipaddr:",
        "vnic link status: UP\n",
        "vnic ipaddr: ",
        "tls switch[",
        "packets transmitted, ",
        "address_0=",
        "٣",
        "9" * 5000,
        "999.999.999.999",
        "SDID : ",
        "0, GPU-1, x, ",
        "\x00",
        "\x1b[31m",
        "\n",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=12).map("".join)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_no_parser_raises(text):
    for parser in PARSERS:
        parser(text)


def a_target(hardware) -> ProbeTarget:
    spec = cluster(serve(), hardware=hardware)
    node = spec.nodes[0]
    plan = NodePlan(
        name="n1", host="h1", address=node.address, ssh=node.ssh, runtime=spec.runtime, files=(), processes=()
    )
    return ProbeTarget(spec=spec, node=node, plan=plan)


OUTPUTS = st.builds(
    Output,
    code=st.sampled_from([None, 0, 1, 13, 127, -9]),
    out=TEXTS,
    err=st.one_of(st.just(""), TEXTS),
    problem=st.sampled_from(["", "not found", "timed out after 4 s"]),
)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([A2, A3, GPU]))
def test_no_probe_raises_and_whatever_it_found_is_judged(data, hardware):
    target = a_target(hardware)
    one, other = data.draw(OUTPUTS), data.draw(OUTPUTS)
    for probe in (*npu.PROBES, npu.make_ping_probe(all_pairs=False), gpu.PROBE):
        keys = [command.key for command in probe.commands(target, {})]
        keys += ["0 n2 0"] if probe.stage else []
        outputs = {key: (one, other)[place % 2] for place, key in enumerate(keys)}
        findings = list(probe.judge([target], {"n1": probe.parse(target, outputs)} if keys else {}))
        assert all(finding.text and finding.probe == probe.name for finding in findings)
