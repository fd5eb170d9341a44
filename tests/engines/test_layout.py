"""Who is in which process, and which addresses it has, by layout."""

import pytest
from msgspec.structs import replace
from specs import cluster, names, serve

from dplaunch.engines import Site, facts
from dplaunch.engines.layout import front_and_headless, per_node, per_rank, url, whole_cluster
from dplaunch.model.plan import Ready
from dplaunch.plan.check import placed

LINE = Ready("line", "joined")


def sites(**role):
    spec = cluster(serve(**role), kind="rehearsal")
    seats = placed(spec)[0]
    for node in spec.nodes:
        mine = tuple(seat for seat in seats if seat.node == node.name)
        yield Site(spec=spec, facts=facts("rehearsal"), role=spec.roles[0], node=node, seats=mine)


def laid(layout, **role):
    """Process → its ranks, and each endpoint's name, port and ranks."""
    return {
        process.name: (
            [seat.rank for seat in process.seats],
            [(e.name, int(e.url.rpartition(":")[2]), e.ranks) for e in process.endpoints],
        )
        for site in sites(**role)
        for process in layout(site)
    }


SPREAD = {"nodes": names(1, 2), "dp": 4}


def test_a_process_and_an_endpoint_for_each_rank():
    assert laid(per_rank, **SPREAD) == {
        f"serve-{rank}": ([rank], [(f"serve-{rank}", 9000 + rank % 2, (rank,))]) for rank in range(4)
    }


def test_one_parent_for_the_ranks_of_a_node():
    assert laid(per_node, **SPREAD) == {
        "serve@n1": ([0, 1], [("serve-0", 9000, (0,)), ("serve-1", 9001, (1,))]),
        "serve@n2": ([2, 3], [("serve-2", 9000, (2,)), ("serve-3", 9001, (3,))]),
    }


def test_groups_on_one_node_have_parents_of_their_own():
    assert laid(per_node, nodes=("n1",), groups=2, dp=2) == {
        "serve.0@n1": ([0, 1], [("serve-0", 9000, (0,)), ("serve-1", 9001, (1,))]),
        "serve.1@n1": ([0, 1], [("serve-2", 9002, (0,)), ("serve-3", 9003, (1,))]),
    }


def test_the_front_answers_for_all_ranks_and_the_headless_have_no_address():
    found = laid(lambda site: front_and_headless(site, LINE), **SPREAD)
    assert found == {"serve@n1": ([0, 1], [("serve-0", 9000, (0, 1, 2, 3))]), "serve@n2": ([2, 3], [])}
    ready = [p.ready for site in sites(**SPREAD) for p in front_and_headless(site, LINE)]
    assert ready == [Ready("http"), LINE]


def test_one_process_for_the_whole_of_a_group():
    assert laid(whole_cluster, **SPREAD) == {"serve@n1": ([0, 1], [("serve-0", 9000, (0, 1, 2, 3))])}


def test_a_layout_fills_in_what_every_engine_has_in_common():
    [process] = per_node(next(sites(dp=2)))
    assert (process.kind, process.role, process.group, process.node) == ("engine", "serve", "serve/0", "n1")
    assert process.argv == ()
    [first, _] = process.endpoints
    assert (first.role, first.group, first.node, first.model) == ("serve", "serve/0", "n1", "model")
    assert first.api == facts("rehearsal").api
    assert process == replace(process, ports=(), files=(), fingerprint="")


@pytest.mark.parametrize(
    ("address", "shown"),
    [("192.0.2.1", "http://192.0.2.1:9000"), ("2001:db8::1", "http://[2001:db8::1]:9000")],
)
def test_an_ipv6_address_stands_in_brackets(address, shown):
    assert url(address, 9000) == shown
