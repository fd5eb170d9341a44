"""Which device pings which, and what lost pings mean."""

from __future__ import annotations

import re

import npustub
import pytest
from npuworld import World, faults

from dplaunch.model.check import Level, Output
from dplaunch.probes.npu_pairs import End, NamedDevices, pair_all, pair_places, pair_ring


def ends(nodes, devices, pod=None):
    return [
        End(f"n{node}", device, f"10.0.{node}.{device}", pod, device, frozenset())
        for node in range(nodes)
        for device in range(devices)
    ]


def names_of(pairs):
    return [(a.node, a.device, b.node, b.device) for a, b in pairs]


def all_of(found, family):
    senders = dict.fromkeys(end.node for end in found)
    return [pair for node in senders for pair in names_of(pair_all(found, family, node))]


def test_a_ring_leads_each_device_to_the_same_one_of_the_next_node():
    assert names_of(pair_ring(ends(3, 1))) == [("n0", 0, "n1", 0), ("n1", 0, "n2", 0), ("n2", 0, "n0", 0)]
    assert names_of(pair_ring(ends(2, 2)))[:2] == [("n0", 0, "n1", 0), ("n1", 0, "n0", 0)]
    assert names_of(pair_ring(ends(1, 8))) == []


def test_a_ring_closes_over_a_device_that_is_left_out():
    assert names_of(pair_ring([end for end in ends(3, 1) if end.node != "n1"])) == [
        ("n0", 0, "n2", 0),
        ("n2", 0, "n0", 0),
    ]


def test_a_ring_does_not_leave_its_super_pod():
    assert names_of(pair_ring([*ends(1, 1, pod=1), *ends(1, 1, pod=2)])) == []


@pytest.mark.parametrize(("family", "count"), [("a2", 28), ("a3", 24)])
def test_every_pair_is_pinged_once_but_for_dies_of_a_card(family, count):
    pairs = all_of(ends(2, 4), family)
    assert len(pairs) == count
    assert len({frozenset((pair[:2], pair[2:])) for pair in pairs}) == count
    assert (("n0", 0, "n0", 1) in pairs or ("n0", 1, "n0", 0) in pairs) == (family == "a2")


def test_every_node_sends_its_share():
    pairs = all_of(ends(4, 8), "a2")
    shares = [sum(pair[0] == f"n{node}" for pair in pairs) for node in range(4)]
    assert max(shares) - min(shares) <= len(pairs) // 8


A2_PING, A3_PING = "hccn_tool -i 3 -ping -g address", "hccn_tool -i 3 -hccs_ping -g address"


def test_an_unreachable_device_is_one_finding_of_its_node():
    breaks = {
        (1, f"{A2_PING} {npustub.roce(2, 3)}"): npustub.ping(3, 3),
        (2, f"{A2_PING} {npustub.roce(3, 3)}"): npustub.ping(3, 3),
    }
    [found] = faults(World("a2", breaks=breaks).findings())
    assert (found.node, found.level) == ("n2", Level.FAIL)
    assert found.text == "device 3: unreachable, no ping to or from other devices is answered"


def test_an_unreachable_node_is_one_finding():
    breaks = {}
    for device in range(8):
        call = f"hccn_tool -i {device} -ping -g address"
        breaks[1, f"{call} {npustub.roce(2, device)}"] = npustub.ping(device, 3)
        breaks[2, f"{call} any"] = npustub.ping(device, 3)
    [found] = faults(World("a2", breaks=breaks).findings())
    assert (found.node, found.text) == (
        "n2",
        "devices 0-7: unreachable, no ping to or from other devices is answered",
    )


def test_of_two_nodes_a_broken_pair_is_reported_once():
    breaks = {(node, f"{A3_PING} any"): npustub.hccs_ping(3, 3) for node in (1, 2)}
    [found] = faults(World("a3", 2, breaks).findings())
    assert (found.node, found.text) == (
        "n1",
        "device 3 and device 3 on n2: no ping answered (This pkt check recv msg fail!)",
    )


def test_with_all_pairs_a_broken_pair_inside_a_node_is_found():
    pair = {f"hccn_tool -i {a} -ping -g address {npustub.roce(1, b)}" for a, b in ((2, 5), (5, 2))}
    breaks = {(1, call): npustub.ping(0, 3) for call in pair}
    [found] = faults(World("a2", 2, breaks).findings(all_pairs=True))
    assert found.node == "n1"
    assert re.fullmatch(r"device [25] and device [25] on n1: no ping answered .*", found.text)


def test_pairs_of_two_nodes_are_one_finding():
    lost = {device: npustub.ping(device, 3) for device in range(8)}
    ring = {(1, f"hccn_tool -i {device} -ping -g address any"): text for device, text in lost.items()}
    [found] = faults(World("a2", breaks=ring).findings())
    assert found.text.startswith("devices 0-7 and the same on n2: no ping answered")
    crossed = {
        (node, f"hccn_tool -i {a} -ping -g address {npustub.roce(3 - node, b)}"): lost[a]
        for node in (1, 2)
        for a, b in ((0, 1), (1, 0), (4, 5), (5, 4))
    }
    [found] = faults(World("a2", 2, crossed).findings(all_pairs=True))
    assert re.match(r"devices here and on n2 \((\d and \d(, )?){4}\): no ping answered", found.text)


def test_a_driver_without_hccs_ping_is_a_warning_per_node():
    unsupported = Output(code=1, out="This device does not support this function.\n")
    breaks = {
        (node, f"hccn_tool -i {d} -hccs_ping -g address any"): unsupported
        for node in (1, 2)
        for d in range(16)
    }
    found = faults(World("a3", 2, breaks).findings())
    assert [(f.level, f.node) for f in found] == [(Level.WARN, "n1"), (Level.WARN, "n2")]
    assert "not supported by this driver or device" in found[0].text


def test_a_user_who_may_not_ping_gets_a_hint_to_be_root():
    denied = Output(code=1, out="permission denied: pls check this cmd run permission.\n")
    breaks = {(1, f"hccn_tool -i {device} -hccs_ping -g address any"): denied for device in range(16)}
    [found] = faults(World("a3", 2, breaks).findings())
    assert (found.text, "root" in found.remedy) == ("ping: hccn_tool: not allowed", True)


def test_a_node_that_did_not_reply_is_not_pinged():
    world = World("a2", 3)
    world.targets = [target for target in world.targets if target.name != "n2"]
    assert faults(world.findings()) == []
    calls = [call for node, call in world.asked if node == "n1" and "-ping" in call]
    assert len(calls) == 8
    assert calls[0].endswith(npustub.roce(3, 0))


def named(family, count, *, nodes=2, over_roce=False):
    """The first ``count`` devices of each node, as a rank table has them."""
    address = npustub.roce if over_roce or family == "a2" else npustub.vnic
    places = [(node, device) for node in range(1, nodes + 1) for device in range(count)]
    return NamedDevices({(f"n{node}", d): address(node, d) for node, d in places}, over_roce=over_roce)


def pinged(world, **given):
    """How often a ping was asked for, and by which nodes."""
    world.findings(**given)
    calls = [(node, call) for node, call in world.asked if "ping -g" in call]
    return len(calls), {node for node, _ in calls}


@pytest.mark.parametrize(("family", "count"), [("a2", 28), ("a3", 24)])
def test_every_pair_that_a_table_names_is_pinged_once_and_no_other(family, count):
    assert pinged(World(family, 3), named=named(family, 4)) == (count, {"n1", "n2"})


def test_a_broken_pair_that_a_table_names_is_found():
    address = npustub.roce(2, 3)
    lost = {(1, f"hccn_tool -i {d} -ping -g address {address}"): npustub.ping(d, 3) for d in range(4)}
    [found] = faults(World("a2", 2, lost).findings(named=named("a2", 4)))
    assert "devices here and on n2 (0 and 3, 2 and 3): no ping answered" in found.text


def test_the_addresses_between_super_pods_are_pinged_over_roce():
    spods = {
        (2, f"npu-smi info -t spod-info -i {d // 2} -c {d % 2}"): npustub.spod((2 << 24) + d, pod=7, server=1)
        for d in range(16)
    }
    world = World("a3", 2, spods)
    world.findings(named=named("a3", 1, over_roce=True))
    [call] = [call for _, call in world.asked if "ping -g" in call]
    assert call.startswith("hccn_tool -i 0 -ping -g address 10.20.0.")


def test_a_device_that_has_another_address_now_takes_no_part():
    stale = NamedDevices({**named("a2", 2).addresses, ("n2", 1): "10.99.0.1"})
    assert pinged(World("a2", 2), named=stale)[0] == 3


def test_where_all_pairs_take_too_long_devices_in_one_place_ping_and_that_is_reported():
    world = World("a3", 8)
    found = world.findings(named=named("a3", 16, nodes=8))
    calls = [node for node, call in world.asked if "ping -g" in call]
    assert len(calls) == 16 * 8 * 7 // 2
    assert max(calls.count(node) for node in calls) <= 16 * 8 * 7 // 2 // 8 + 16
    assert [one.level for one in found if "same place" in one.text] == [Level.ABSENT]


def test_devices_in_one_place_of_every_two_nodes_are_a_pair_once():
    found = ends(4, 2)
    pairs = [pair for node in range(4) for pair in names_of(pair_places(found, f"n{node}"))]
    assert len(pairs) == len({frozenset((pair[:2], pair[2:])) for pair in pairs}) == 12
    assert all(one == other for _, one, _, other in pairs)
