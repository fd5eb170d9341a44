"""A table from which processes take their ranks is that of the plan, rank for rank."""

import json
import re

import pytest
from msgspec.structs import replace
from specs import A2, cluster, nodes, serve

from dplaunch.model.cluster import EngineSpec
from dplaunch.ranktable import Device, NodeDevices, Site, check_named, make_table, verify

NODES = tuple(replace(node, devices=(0, 1)) for node in nodes(2))
SITE = Site(nodes=NODES, family="a2", whole=True)


def table(*names: str, devices=(0, 1), containers=False):
    by_name = {node.name: node for node in NODES}
    made = []
    for index, name in enumerate(names):
        own = tuple(Device(number=one, address=f"198.18.{index}.{one + 1}") for one in devices)
        made.append(NodeDevices(name=name, address=by_name[name].address, devices=own))
    return make_table(made, containers=containers)


def found(text, site=SITE):
    return [(problem.key, problem.text) for problem in verify(text, "t.json", site)]


def test_a_table_in_the_order_of_the_plan_is_valid():
    assert found(table("n1", "n2")) == []


def test_ranks_of_a_node_that_begin_elsewhere_are_found():
    assert [key for key, text in found(table("n2", "n1")) if "begin at" in text] == [
        "server_list[0].device[0].rank_id",
        "server_list[1].device[0].rank_id",
    ]
    assert found(table("n2", "n1"), replace(SITE, whole=False)) == []


def test_devices_of_the_plan_that_it_lacks_are_found():
    (key, text), *_ = found(table("n1", "n2", devices=(0,)))
    assert (key, "device 1 of n1" in text) == ("server_list[0].device", True)


@pytest.mark.parametrize("containers", [True, False])
def test_a_service_finds_itself_by_the_address_of_its_container(containers):
    text = table("n1", "n2", containers=containers)
    assert ("container_ip" in json.loads(text)["server_list"][0]) is containers
    assert bool(found(text, replace(SITE, containers=True))) is not containers


def test_problems_of_a_named_table_are_at_its_key_and_say_where_in_the_table():
    engine = EngineSpec(kind="mindie-atb", version="", rank_table="t.json", rank_table_text=table("n2", "n1"))
    spec = cluster(serve(nodes=("n1", "n2"), tp=4), hardware=A2, nodes=NODES, engine=engine)
    problem = check_named(spec)[0]
    assert problem.key == "engine.rank_table"
    assert re.match(r"t\.json:\d+:\d+: ", problem.text)
    assert check_named(replace(spec, engine=replace(engine, rank_table_text=None))) == ()
