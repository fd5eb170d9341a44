"""The text of a table: byte for byte, from devices as nodes report them."""

from pathlib import Path

import pytest
from specs import nodes

from dplaunch.ranktable import Device, NodeDevices, Site, make_table, verify

GOLDEN = Path(__file__).parent / "golden"


def a_node(number: int, *devices: Device) -> NodeDevices:
    return NodeDevices(name=f"n{number}", address=f"192.0.0.{number}", devices=devices)


def an_a3(number: int, pod: int, count: int = 16) -> NodeDevices:
    devices = (
        Device(number=i, address=f"192.168.{number}.{100 + i}", sdid=number * 1000 + i, pod=pod)
        for i in range(count)
    )
    return a_node(number, *devices)


@pytest.mark.parametrize(("name", "pods"), [("a3-one-pod", (7, 7)), ("a3-two-pods", (7, 8))])
def test_a_table_of_super_pods_is_as_its_golden_file(expect, name, pods):
    made = make_table([an_a3(number, pod) for number, pod in enumerate(pods, 1)])
    expect(GOLDEN / f"{name}.json", made)
    assert verify(made, "made.json", Site(nodes=nodes(2), family="a3")) == ()


def test_ranks_count_through_sixteen_devices_as_numbers():
    made = make_table([an_a3(1, 0), an_a3(2, 0)])
    ranks = [line.split('"')[3] for line in made.splitlines() if "rank_id" in line]
    numbers = [
        line.split('"')[3] for line in made.splitlines() if "device_id" in line and "super" not in line
    ]
    assert ranks == [str(rank) for rank in range(32)]
    assert numbers == [str(number) for number in range(16)] * 2


def test_a_device_without_an_address_has_no_such_field():
    made = make_table(
        [a_node(1, Device(number=0, sdid=1, pod=0)), a_node(2, Device(number=0, sdid=2, pod=0))]
    )
    assert "device_ip" not in made
    assert verify(made, "made.json", Site(nodes=nodes(2), family="a3")) == ()
