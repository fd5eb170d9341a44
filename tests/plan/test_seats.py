from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from specs import cluster, four_p_four_d, names, nodes, serve

from dplaunch.model.cluster import RoleSpec
from dplaunch.plan.check import placed
from dplaunch.plan.seats import groups, seats


def by_name(spec):
    return {seat.name: seat for seat in seats(spec)}


def test_the_documented_cluster():
    found = by_name(four_p_four_d())
    assert len(found) == 72
    assert list(found)[:3] == ["prefill-0", "prefill-1", "prefill-2"]
    fifth = found["prefill-5"]
    assert (fifth.role, fifth.group, fifth.node, fifth.address) == ("prefill", 2, "n3", "192.0.0.3")
    assert (fifth.rank, fifth.local_rank, fifth.local_size) == (1, 1, 2)
    assert (fifth.devices, fifth.master) == (tuple(range(8, 16)), "192.0.0.3")
    assert fifth.group_name == "prefill/2"
    last = found["decode-63"]
    assert (last.group, last.node, last.rank, last.local_rank, last.local_size) == (0, "n8", 63, 15, 16)
    assert (last.devices, last.master) == ((15,), "192.0.0.5")


def test_ranks_are_numbered_from_the_masters_node_on():
    role = RoleSpec(name="serve", nodes=names(1, 4), dp=8, tp=8, masters=("n3",))
    spec = cluster(role)
    assert groups(role)[0] == ("n3", "n4", "n1", "n2")
    found = by_name(spec)
    assert [found[f"serve-{n}"].node for n in range(8)] == ["n3", "n3", "n4", "n4", "n1", "n1", "n2", "n2"]
    assert {seat.master for seat in found.values()} == {"192.0.0.3"}


def test_a_master_per_group():
    role = RoleSpec(name="serve", nodes=names(1, 4), groups=2, dp=2, tp=16, masters=("n2", "n3"))
    assert list(groups(role)) == [("n2", "n1"), ("n3", "n4")]
    found = by_name(cluster(role))
    assert [(s.name, s.group, s.node, s.master) for s in found.values()] == [
        ("serve-0", 0, "n2", "192.0.0.2"),
        ("serve-1", 0, "n1", "192.0.0.2"),
        ("serve-2", 1, "n3", "192.0.0.3"),
        ("serve-3", 1, "n4", "192.0.0.3"),
    ]


def test_several_groups_on_a_node():
    role = RoleSpec(name="serve", nodes=names(1, 2), groups=4, dp=2, tp=4)
    assert list(enumerate(groups(role))) == [
        (0, ("n1",)),
        (1, ("n1",)),
        (2, ("n2",)),
        (3, ("n2",)),
    ]
    found = by_name(cluster(role))
    assert [found[f"serve-{n}"].devices[0] for n in range(8)] == [0, 4, 8, 12, 0, 4, 8, 12]
    assert [found[f"serve-{n}"].local_rank for n in range(8)] == [0, 1, 0, 1, 0, 1, 0, 1]


def test_roles_on_one_node_take_devices_in_file_order():
    first = RoleSpec(name="prefill", nodes=("n1",), tp=2, pp=2, pcp=2, dcp=2)
    second = RoleSpec(name="decode", nodes=("n1",), dp=2, tp=4)
    found = by_name(cluster(first, second))
    assert found["prefill-0"].devices == tuple(range(8))
    assert found["decode-0"].devices == (8, 9, 10, 11)
    assert found["decode-1"].devices == (12, 13, 14, 15)


def test_a_node_without_devices_pins_nothing():
    spec = cluster(serve(dp=2, tp=2), nodes=nodes(1, devices=0))
    assert {seat.devices for seat in seats(spec)} == {()}


@st.composite
def topologies(draw):
    """Two roles whose nodes, groups and dp divide as the file's rules demand."""
    roles, first = [], 1
    for name in ("prefill", "decode"):
        count = draw(st.integers(1, 6))
        share = draw(st.sampled_from([n for n in range(1, count + 1) if count % n == 0]))
        several = draw(st.integers(1, 3)) if share == 1 else 1
        size = draw(st.integers(1, 3))
        used = names(first, first + count - 1)
        per_group = [used[g * share : (g + 1) * share] for g in range(count // share) for _ in range(several)]
        masters = tuple(draw(st.sampled_from(group)) for group in per_group) if draw(st.booleans()) else ()
        roles.append(
            RoleSpec(
                name=name,
                nodes=used,
                groups=len(per_group),
                dp=share * size,
                tp=draw(st.integers(1, 3)),
                masters=masters,
            )
        )
        first = draw(st.sampled_from([1, first + count]))
    spec = cluster(*roles, kv_transfer=four_p_four_d().kv_transfer)
    return replace(spec, nodes=nodes(len(spec.nodes), devices=64))


@settings(max_examples=60, deadline=None)
@given(topologies())
def test_every_rank_once_and_nothing_shared(spec):
    found, problems = placed(spec)
    assert problems == ()
    assert len({seat.name for seat in found}) == len(found)
    devices, ports = [], []
    for role in spec.roles:
        for number in range(role.groups):
            ranks = [seat for seat in found if (seat.role, seat.group) == (role.name, number)]
            assert [seat.rank for seat in ranks] == list(range(role.dp))
            assert {seat.master for seat in ranks} == {ranks[0].address}
            assert {seat.port("rpc") for seat in ranks} == {ranks[0].port("rpc")}
            assert len({seat.ports["kv"].base for seat in ranks if "kv" in seat.ports}) <= 1
            if role.masters:
                assert ranks[0].node == role.masters[number]
            for node in {seat.node for seat in ranks}:
                local = [seat for seat in ranks if seat.node == node]
                assert [seat.local_rank for seat in local] == list(range(len(local)))
                assert {seat.local_size for seat in local} == {len(local)}
    for seat in found:
        devices += [(seat.node, device) for device in seat.devices]
        ports += [(seat.node, port) for port in seat.ports["http"].ports]
        ports += [(seat.node, port) for port in (seat.ports["kv"].ports if "kv" in seat.ports else ())]
        if seat.rank == 0 and "rpc" in seat.ports:
            ports.append((seat.node, seat.port("rpc")))
    assert len(devices) == len(set(devices))
    assert len(ports) == len(set(ports))
    assert not {port for _, port in ports} & set(range(60000, 60032))
