"""``check`` on eight machines: one broken thing at a time is named, with its node and remedy, and nothing else is."""

import json
import re
from collections.abc import Callable

import pytest
from fleetlab import DRIVER, PACKAGES, WEIGHTS, CheckedLab, put
from lab import HOME, LabHost
from npustub import hccs_ping, ping, roce, smi_info, spod, tls

pytestmark = pytest.mark.lab

LATE_PYTHON = """#!/bin/sh
python=$(PATH=${PATH#*:} command -v python3)
[ "$3" = -c ] || exec "$python" "$@"
code=$4
shift 4
exec "$python" -I -S -c "import time; real = time.time; time.time = lambda: real() + 90
$code" "$@"
"""

Break = Callable[[CheckedLab, LabHost], None]


def hccn(words: str, text: str | bytes) -> Break:
    return lambda site, host: site.npu(host).answer("hccn_tool", words, text)


def smi(words: str, text: str) -> Break:
    return lambda site, host: site.npu(host).answer("npu-smi", words, text)


def file(path: str, text: str) -> Break:
    return lambda _, host: put(host, path, text)


def packages(**versions: str) -> Break:
    return file("packages", json.dumps({"packages": {**PACKAGES, **versions}}) + "\n")


def without(path: str) -> Break:
    return lambda _, host: host.path(path).unlink()


def console(*argv: str) -> Break:
    def act(_: CheckedLab, host: LabHost) -> None:
        done = host.run(["sh", "-c", *argv])
        assert done.returncode == 0, done.stderr

    return act


A2 = {
    "link down": (hccn("-i 1 -link -g", "link status: DOWN\n"), "npu.network", "fail", "device 1: link"),
    "wrong gateway": (
        hccn("-i 0 -gateway -g", "default gateway:10.20.0.253, Iface:eth0\n"),
        "npu.network",
        "fail",
        "gateway",
    ),
    "no gateway": (
        hccn("-i 0 -gateway -g", "Get gateway failed, because no gateway was preset there!\n"),
        "npu.network",
        "fail",
        "gateway",
    ),
    "unreachable": (
        hccn("-i 1 -net_health -g", "net health status: Unreachable\n"),
        "npu.network",
        "fail",
        "Unreachable",
    ),
    "no detect address": (
        hccn("-i 1 -netdetect -g", "netdetect address: 0.0.0.0\n"),
        "npu.network",
        "warn",
        "detect",
    ),
    "lldp off": (hccn("-i 0 -lldp -g", ""), "npu.network", "warn", "lldp|LLDP"),
    "TLS differs": (hccn("-i 1 -tls -g", tls(1, 1)), "npu.tls", "fail", "TLS|tls"),
    "address twice": (
        lambda site, host: [
            site.npu(host).answer(
                "hccn_tool", "-i 1 -ip -g", f"ipaddr:{roce(5, 1)}\nnetmask:255.255.255.0\n"
            ),
            put(
                host,
                "etc/hccn.conf",
                host.path("~/hccn.conf").read_text().replace(roce(host.number, 1), roce(5, 1)),
            ),
        ],
        "npu.address",
        "fail",
        "has the same address as device 1 on n5",
    ),
    "no NPU address": (
        hccn("-i 0 -ip -g", "Get ipconf failed, because no ip was preset there!\n"),
        "npu.address",
        "fail",
        "device 0",
    ),
    "ping lost": (hccn("-i 1 -ping -g address any", ping(1, 3)), "npu.ping", "fail", "device 1"),
    "no hccn.conf": (without("~/own/etc/hccn.conf"), "npu.conf", "fail", "hccn.conf"),
    "a device is missing": (
        smi("info", smi_info("a2", missing=(1, 2, 3, 4, 5, 6, 7))),
        "npu.devices",
        "fail",
        "1 of 2",
    ),
    "a device is ill": (smi("info", smi_info("a2", health={1: "Alarm"})), "npu.devices", "fail", "Alarm"),
    "HBM held": (
        smi("info", smi_info("a2", used={0: 60000}, holders={0: (4711, "python3")})),
        "npu.devices",
        "fail",
        "4711",
    ),
    "npu-smi is missing": (without("~/bin/npu-smi"), "npu.devices", "fail", "npu-smi"),
    "hccn_tool prints rubbish": (
        hccn("-i 1 -link -g", b"\x00\xff\x1b[31m\x00link sta"),
        "npu.network",
        "warn",
        "link",
    ),
    "hccn_tool hangs": (
        lambda site, host: site.npu(host).delay("hccn_tool", "", 60),
        "npu.network",
        "warn",
        "hccn_tool: timed out",
    ),
    "driver drift": (
        file("usr/local/Ascend/driver/version.info", DRIVER.replace("25.0.rc1.1", "24.1.rc2.2", 1)),
        "engine.versions",
        "warn",
        "24.1.rc2.2",
    ),
    "firmware out of range": (
        file("usr/local/Ascend/firmware/version.info", "Version=7.9.0.1.231\n"),
        "engine.versions",
        "fail",
        "7.9.0",
    ),
    "CANN drift": (
        file("cann/ascend_toolkit_install.info", "version=8.5.1\n"),
        "engine.versions",
        "fail|warn",
        "8.5.1",
    ),
    "vllm-ascend drift": (packages(**{"vllm-ascend": "0.20.2rc1"}), "engine.versions", "fail", "0.20.2rc1"),
    "torch_npu drift": (packages(torch_npu="2.9.0"), "engine.versions", "fail|warn", "2.9.0"),
    "a flag is unknown": (
        lambda _, host: put(
            host, "help", host.path("~/own/help").read_text().replace("  --data-parallel-rank VALUE\n", "")
        ),
        "engine.flags",
        "fail",
        "--data-parallel-rank",
    ),
    "vllm is missing": (without("~/bin/vllm"), "engine.flags", "fail", "vllm"),
    "weights are missing": (console(f"rm -r {WEIGHTS}"), "model.weights", "fail", "weights"),
    "weights differ": (
        console(f"printf x >> {WEIGHTS}/model-00002-of-00002.safetensors"),
        "model.weights",
        "fail",
        "model-00002",
    ),
    "a shard is missing": (
        without(f"{WEIGHTS}/model-00001-of-00002.safetensors"),
        "model.weights",
        "fail",
        "model-00001",
    ),
    "runtime.python does not run": (
        lambda _, host: host.stub("engine-python", "#!/bin/sh\necho broken >&2; exit 1\n"),
        "host.python|engine.versions",
        "fail|warn",
        "",
    ),
    "memory is short": (
        console(
            f"printf 'MemTotal: 16000000 kB\\nMemAvailable: 900000 kB\\n' > {HOME}/own/short; "
            f"mount --bind {HOME}/own/short /proc/meminfo"
        ),
        "host.memory",
        "warn",
        "memory",
    ),
}
"""What is broken on one node: how, and probe, level and text of the one finding."""

A3 = {
    "another super pod": (
        smi("info -t spod-info -i 0 -c 1", spod(99 << 16, pod=3, server=6)),
        "npu.superpod",
        "fail",
        "Super Pod|super pod",
    ),
    "SDID twice": (
        smi("info -t spod-info -i 0 -c 0", spod(5 << 24, server=6)),
        "npu.superpod",
        "fail",
        "SDID",
    ),
    "hccs_ping lost": (
        hccn("-i 1 -hccs_ping -g address any", hccs_ping(1, 3)),
        "npu.ping",
        "fail",
        "device 1",
    ),
    "link down on A3": (hccn("-i 1 -link -g", "link status: DOWN\n"), "npu.network", "warn", "link"),
    "no hccn.conf on A3": (without("~/own/etc/hccn.conf"), "npu.conf", "warn", "hccn.conf"),
    "no vnic address": (
        hccn("-i 1 -vnic -g", "vnic link status: DOWN\n"),
        "npu.address|npu.network",
        "fail",
        "device 1",
    ),
}


def one_finding(site: CheckedLab, node: str, probe: str, level: str, text: str) -> None:
    found = site.check()
    wrong = [one for one in found["findings"] if one["level"] in ("fail", "warn")]
    assert len(wrong) == 1, json.dumps(wrong, indent=1)
    [one] = wrong
    assert re.fullmatch(probe, one["probe"]), one
    assert one["node"] == node, one
    assert re.fullmatch(level, one["level"]), one
    assert re.search(text, one["text"]), one
    assert one["remedy"], one
    assert found["code"] == (1 if one["level"] == "fail" else 0)


def test_healthy_nodes_have_no_faults(a2):
    found = a2.check()
    assert [one for one in found["findings"] if one["level"] in ("fail", "warn")] == []
    assert found["code"] == 0
    probes = {one["probe"] for one in found["findings"]}
    assert {"npu.ping", "npu.tls", "npu.address", "engine.flags", "model.weights", "net.tcp"} <= probes


@pytest.mark.parametrize("broken", list(A2))
def test_one_thing_is_broken_on_an_a2_node(a2, broken):
    act, probe, level, text = A2[broken]
    host = a2.lab["h6"]
    act(a2, host)
    try:
        one_finding(a2, "n6", probe, level, text)
    finally:
        a2.dress(host)


def test_a_firewall_between_two_hosts(a2):
    host = a2.lab["h7"]
    host.run(["ip", "route", "add", "blackhole", "192.0.2.8/32"])
    try:
        one_finding(a2, "n7", "net.tcp", "fail", "between n7 and n8")
    finally:
        host.run(["ip", "route", "del", "blackhole", "192.0.2.8/32"])


def test_a_port_that_somebody_holds(a2, until):
    host = a2.lab["h6"]
    host.run(["sh", "-c", "setsid python3 -m http.server 9001 > /dev/null 2>&1 &"])
    dial = "import socket; socket.create_connection(('127.0.0.1', 9001))"
    until(lambda: host.run(["python3", "-c", dial]).returncode == 0)
    try:
        one_finding(a2, "n6", "host.ports", "fail", "port 9001 of decode-3 is taken by pid")
    finally:
        [server] = [p for p in host.processes() if "http.server" in p.command]
        host.run(["sh", "-c", "kill $(pgrep -f http.server)"])
        until(lambda: server.pid not in {p.pid for p in host.processes()})


def test_an_engine_that_somebody_started_by_hand(a2, until):
    host = a2.lab["h6"]
    put(host, "vllm", "#!/bin/sh\nsleep 600\n")  # stuck before it binds a port or takes a device
    host.path("~/own/vllm").chmod(0o755)
    by_hand = f"setsid {HOME}/own/vllm serve /weights --port 7100 > /dev/null 2>&1 & echo $!"
    pid = host.run(["sh", "-c", by_hand]).stdout.strip()
    until(lambda: [p for p in host.processes() if "own/vllm serve" in p.command])
    try:
        text = rf"run here: pid {pid} \(/bin/sh .*/own/vllm serve .*\) of user \w+$"
        one_finding(a2, "n6", "host.leftover", "warn", text)
    finally:
        engine = [p.pid for p in host.processes() if "own/vllm serve" in p.command]
        host.run(["sh", "-c", f"kill -9 -{pid}"])
        until(lambda: not set(engine) & {p.pid for p in host.processes()})
        a2.dress(host)
    assert engine, "check stopped a foreign process"


def test_a_wrong_nic(a2):
    a2.write(n6="{name: n6, host: 192.0.2.6, nic: lo, devices: 2}")
    try:
        one_finding(a2, "n6", "host.nic", "fail", "eth0 carries 192.0.2.6")
    finally:
        a2.write()


def test_a_clock_that_is_off(a2):
    host = a2.lab["h6"]
    host.stub("python3", LATE_PYTHON)
    try:
        one_finding(a2, "n6", "host.clock", "fail", "clock is (89|90|91) s ahead of the other nodes")
    finally:
        a2.dress(host)


def test_a_full_disk(a2):
    host = a2.lab["h6"]
    host.run(["fallocate", "-l", "7500M", f"{HOME}/.fill"])
    try:
        one_finding(a2, "n6", "host.disk", "fail", "state")
    finally:
        host.path("~/.fill").unlink()


def test_a_host_that_is_off(a2):
    host = a2.lab["h6"]
    host.power_off()
    try:
        found = a2.check()
    finally:
        host.power_on()
        a2.dress(host)
    wrong = [one for one in found["findings"] if one["level"] in ("fail", "warn")]
    assert [(one["probe"], one["node"]) for one in wrong] == [("host.login", "n6")]
    assert found["code"] == 3


def test_what_changed_since_it_was_saved(a2):
    host = a2.lab["h6"]
    assert a2.check("--save")["code"] == 0
    assert host.path(f"{HOME}/.local/state/dplaunch/checked/n6/fingerprint.json").exists()
    for one in a2.lab.hosts.values():
        put(one, "cann/ascend_toolkit_install.info", "version=9.0.1\n")
    try:
        drift = [one for one in a2.wrong() if " on 20" in one["text"]]
        assert {one["node"] for one in drift} == {f"n{n}" for n in range(1, 9)}
        assert all("CANN was 9.1.0 on" in one["text"] for one in drift)
        # the program in place of vllm only prints its help: the start fails, and the changes are reported too
        up = a2.lab.run(["dplaunch", "up", "-y"], timeout=120)
        assert "exited with code 0 before it was ready" in up.stderr
        assert "n[1-8]: engine.versions CANN was 9.1.0 on" in up.stderr
        assert up.returncode == 1
    finally:
        for one in a2.lab.hosts.values():
            a2.dress(one)


def test_commands_that_repair_are_printed_and_not_run(a2):
    host = a2.lab["h6"]
    a2.npu(host).answer("hccn_tool", "-i 1 -tls -g", tls(1, 1))
    try:
        done = a2.lab.run(["dplaunch", "check", "--fix", "-q"])
        assert "hccn_tool -i 1 -tls -s enable 0" in done.stdout
        assert "on n6" in done.stdout
    finally:
        a2.dress(host)


@pytest.mark.parametrize("broken", list(A3))
def test_one_thing_is_broken_on_an_a3_node(a3, broken):
    act, probe, level, text = A3[broken]
    host = a3.lab["h6"]
    act(a3, host)
    try:
        one_finding(a3, "n6", probe, level, text)
    finally:
        a3.dress(host)


def test_healthy_a3_nodes_have_no_faults(a3):
    assert a3.wrong("--all-pairs") == []
