"""The script finds the interface that carries its node's address, or says why it cannot."""

import shutil
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from specs import cluster, nodes, serve

from dplaunch import plan

IP = """#!/bin/sh
echo '1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever'
echo '2: eth0    inet 192.0.0.1/24 brd 192.0.0.255 scope global eth0'
echo '3: veth1@if5    inet 192.0.0.2 peer 192.0.0.9/32 scope global veth1'
echo '4: eth1    inet 192.0.0.3/24 scope global eth1'
echo '5: eth2    inet 192.0.0.3/24 scope global eth2'
echo '6: eth3    inet6 fe80::1/64 scope link'
"""


def started(stage, address, **env):
    node = replace(nodes(1, nic=None)[0], address=address)
    planned = plan.build(cluster(serve(tp=16), nodes=(node,)))
    stage.put(planned.nodes[0])
    return stage.run(planned.processes[0], **env)


@pytest.mark.parametrize(
    ("address", "nic"),
    [("192.0.0.1", "eth0"), ("192.0.0.2", "veth1"), ("127.3.2.1", "lo"), ("fe80::1", "eth3")],
)
def test_the_interface_is_found_by_the_address(stage, address, nic):
    stage.program("ip", IP)
    assert started(stage, address).env["GLOO_SOCKET_IFNAME"] == nic


def test_an_address_on_no_interface_stops_it_and_names_what_there_is(stage):
    stage.program("ip", IP)
    ran = started(stage, "192.0.0.77")
    assert (ran.code, ran.out) == (1, "")
    assert "192.0.0.77" in ran.err
    assert "lo 127.0.0.1, eth0 192.0.0.1, veth1 192.0.0.2" in ran.err
    assert "nic" in ran.err


def test_an_address_on_several_interfaces_stops_it_and_names_them(stage):
    stage.program("ip", IP)
    ran = started(stage, "192.0.0.3")
    assert (ran.code, ran.out) == (1, "")
    assert "eth1 eth2" in ran.err


def test_without_ip_python_asks_the_kernel(stage, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "bash").symlink_to(shutil.which("bash"))
    (bare / "python3").symlink_to(Path(sys.executable).resolve())
    ran = started(stage, "192.0.0.77", path=str(bare))
    assert (ran.code, ran.out) == (1, "")
    assert "lo 127.0.0.1" in ran.err
