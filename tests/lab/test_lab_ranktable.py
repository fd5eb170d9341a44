"""``ranktable`` on eight machines with stub tools: made over SSH, verified, sent; a host off, a device without address."""

import hashlib
import json

import pytest
from fleetlab import DEVICES, DPLAUNCH, CheckedLab
from lab import HOME
from npustub import roce, vnic

pytestmark = pytest.mark.lab


def ranktable(site: CheckedLab, *words: str):
    return site.lab.run([DPLAUNCH, "ranktable", *words], timeout=120)


def test_a_table_is_made_saved_sent_and_valid(a2):
    done = ranktable(a2, "--save", "table.json", "--to", f"{HOME}/rank table.json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert [server["server_id"] for server in made["server_list"]] == [f"192.0.2.{n}" for n in range(1, 9)]
    addresses = [device["device_ip"] for server in made["server_list"] for device in server["device"]]
    assert addresses == [roce(n, device) for n in range(1, 9) for device in range(DEVICES)]
    assert a2.lab.path("~/table.json").read_text() == done.stdout
    sha = hashlib.sha256(done.stdout.encode()).hexdigest()
    assert sha in done.stderr
    for host in a2.lab.hosts.values():
        file = host.path(f"{HOME}/rank table.json")
        assert file.read_text() == done.stdout
        assert file.stat().st_mode & 0o777 == 0o640
    assert "valid" in ranktable(a2, "--verify", "table.json").stdout


def test_a_device_without_an_address_is_named_and_nothing_is_sent(a2):
    host = a2.lab["h6"]
    a2.npu(host).answer("hccn_tool", "-i 1 -ip -g", "no ip was preset in this port\n")
    try:
        done = ranktable(a2, "--to", f"{HOME}/never.json")
    finally:
        a2.dress(host)
    assert (done.returncode, done.stdout) == (1, "")
    assert "n6: device 1: no address" in done.stderr
    assert not a2.lab["h1"].path(f"{HOME}/never.json").exists()


def test_a_host_that_is_off_is_named(a2):
    host = a2.lab["h6"]
    host.power_off()
    try:
        done = ranktable(a2)
    finally:
        host.power_on()
        a2.dress(host)
    assert done.returncode == 3
    assert "n6" in done.stderr


def test_a_broken_file_is_not_sent_and_its_problems_have_places(a2):
    first = ranktable(a2)
    assert first.returncode == 0, first.stderr
    text = first.stdout.replace('"rank_id":"5"', '"rank_id":"4"')
    a2.lab.path("~/broken.json").write_text(text)
    done = ranktable(a2, "--verify", "broken.json", "--to", f"{HOME}/never.json")
    _, line = (n for n, one in enumerate(text.splitlines(), 1) if '"rank_id":"4"' in one)
    assert done.returncode == 2
    assert f"broken.json:{line}:31: error: rank_id 4 is already used" in done.stderr
    assert not a2.lab["h1"].path(f"{HOME}/never.json").exists()


def test_check_pings_the_pairs_of_a_table_and_finds_what_is_stale(a2):
    text = ranktable(a2).stdout
    a2.lab.path("~/table.json").write_text(text)
    assert a2.wrong("--ranktable", "table.json") == []
    a2.lab.path("~/table.json").write_text(text.replace(roce(6, 1), "10.99.0.1"))
    [found] = a2.wrong("--ranktable", "table.json")
    assert (found["probe"], found["node"], found["level"]) == ("npu.ranktable", "n6", "fail")


def test_super_pods_make_a_table_of_version_1_2(a3):
    made = json.loads(ranktable(a3, "-o", "json").stdout)["table"]
    assert made["version"] == "1.2"
    assert made["server_list"][7]["device"][1]["device_ip"] == vnic(8, 1)
    assert len(made["super_pod_list"][0]["server_list"]) == 8
