import pytest
from msgspec.structs import replace
from seating import some_ports
from specs import MOONCAKE, cluster, four_p_four_d, names, serve

from dplaunch.model.cluster import RoleSpec, RouterSpec
from dplaunch.plan.check import placed


def ports(spec):
    found, problems = placed(spec)
    assert problems == ()
    return {seat.name: seat.ports for seat in found}


def problems(spec):
    return placed(spec)[1]


def test_the_documented_cluster():
    found = ports(four_p_four_d())
    assert found["prefill-0"] == some_ports(9000, 13395, (61000, 61008, 61000))
    assert found["prefill-3"] == some_ports(9001, 13395, (61008, 61016, 61000))
    assert found["decode-0"] == some_ports(9000, 13395, (61000, 61001, 61000))
    assert found["decode-63"] == some_ports(9015, 13395, (61063, 61064, 61000))


def test_http_counts_over_all_roles_of_a_node_and_rpc_over_its_groups():
    prefill = RoleSpec(name="prefill", nodes=names(1, 2), groups=4, dp=1, tp=2)
    decode = RoleSpec(name="decode", nodes=names(1, 2), groups=2, dp=2, tp=2)
    wide = ports(cluster(prefill, decode))
    assert [wide[f"prefill-{n}"]["http"].first for n in range(4)] == [9000, 9001, 9000, 9001]
    assert [wide[f"decode-{n}"]["http"].first for n in range(4)] == [9002, 9003, 9002, 9003]
    assert {"rpc" in wide[f"prefill-{n}"] for n in range(4)} == {False}
    assert {wide[f"decode-{n}"]["rpc"].first for n in range(4)} == {13395}
    assert wide["decode-1"] == some_ports(9003, 13395)


def test_roles_have_bases_of_their_own():
    prefill = RoleSpec(name="prefill", nodes=("n1",), dp=2, ports={"http": 7000, "rpc": 5000, "kv": 62000})
    decode = RoleSpec(name="decode", nodes=("n1",), dp=2, ports={"http": 8100, "rpc": 6000, "kv": 63000})
    found = ports(cluster(prefill, decode, kv_transfer=MOONCAKE))
    assert found["prefill-1"] == some_ports(7001, 5000, (62001, 62002, 62000))
    assert found["decode-0"] == some_ports(8102, 6001, (63000, 63001, 63000))


def test_kv_goes_around_what_is_taken_on_any_node_of_the_group():
    prefill = RoleSpec(name="prefill", nodes=("n1",), tp=4, ports={"http": 61003})
    decode = RoleSpec(name="decode", nodes=names(1, 2), dp=4, tp=2)
    router = RouterSpec(node="n2", port=61013)
    found = ports(cluster(prefill, decode, kv_transfer=MOONCAKE, router=router))
    # n1 has 61003 (HTTP): prefill moves behind it, and decode's ranks 0 and 1 behind prefill
    assert found["prefill-0"]["kv"].ports == range(61004, 61008)
    # ranks 2 and 3 sit on n2, at base + 4 …: 61012 to 61015 would meet the router's 61013
    assert found["decode-0"]["kv"].base == 61010
    assert found["decode-2"]["kv"].ports == range(61014, 61016)


def test_kv_keeps_clear_of_hccls_own_ports():
    spec = four_p_four_d()
    bases = {"kv": 59990}
    roles = tuple(replace(role, ports=bases) for role in spec.roles)
    assert ports(replace(spec, roles=roles))["prefill-0"]["kv"].ports == range(60032, 60040)


@pytest.mark.parametrize(
    ("http", "router", "text", "key"),
    [
        (9000, 9001, "port 9001 of n1 (192.0.0.1) is wanted by both router and serve-1 (HTTP)", "ports.http"),
        (13395, 80, "port 13395 of n1 (192.0.0.1) is wanted by both serve-0 (HTTP) and serve/0 (rendezvous)", "ports.rpc"),
        (60000, 80, "port 60000 of n1 (192.0.0.1) is wanted by both HCCL (its own host ports) and serve-0 (HTTP)", "ports.http"),
    ],
)  # fmt: skip
def test_a_collision_names_host_port_and_both_users_once(http, router, text, key):
    role = serve(dp=4, tp=4, ports={"http": http})
    (problem,) = problems(cluster(role, router=RouterSpec(node="n1", port=router)))
    assert (problem.text, problem.key, problem.warning) == (text, key, False)
    assert key in problem.hint


def test_a_collision_between_roles_names_the_role_that_moved_in():
    prefill = RoleSpec(name="prefill", nodes=("n1",), dp=2)
    decode = RoleSpec(name="decode", nodes=("n1",), ports={"http": 8999})
    (problem,) = problems(cluster(prefill, decode))
    assert problem.key == "roles.decode.ports.http"
    assert problem.hint == "move roles.decode.ports.http or roles.prefill.ports.http"
    assert "9001" in problem.text


def test_a_router_that_is_none_takes_no_port():
    spec = cluster(serve(ports={"http": 8000}), router=RouterSpec(node="n1", kind="none"))
    assert ports(spec)["serve-0"]["http"].first == 8000


def test_no_room_for_kv_is_a_problem():
    spec = four_p_four_d()
    roles = tuple(replace(role, ports={"kv": 65500}) for role in spec.roles)
    (problem,) = problems(replace(spec, roles=roles))
    assert problem.key == "ports.kv"
    assert problem.text == "decode/0 (KV transfer) needs 64 free ports from 65500 on, and there are fewer"
    assert problem.hint == "lower ports.kv"


def test_what_counts_is_the_whole_groups_range():
    spec = four_p_four_d()
    roles = (replace(spec.roles[0], ports={"kv": 65521}), spec.roles[1])
    assert [p.text.split(" (")[0] for p in problems(replace(spec, roles=roles))] == [
        f"prefill/{group}" for group in range(4)
    ]
    roles = (replace(spec.roles[0], ports={"kv": 65520}), spec.roles[1])
    assert ports(replace(spec, roles=roles))["prefill-1"]["kv"].ports == range(65528, 65536)


def test_different_collisions_are_all_told():
    role = serve(groups=2, dp=2, tp=4, ports={"http": 13393})
    found = problems(cluster(role, router=RouterSpec(node="n1", port=13393)))
    assert [p.text.split("wanted by both ")[1] for p in found] == [
        "router and serve-0 (HTTP)",
        "serve-2 (HTTP) and serve/0 (rendezvous)",
    ]


def test_the_last_port_can_be_used():
    spec = four_p_four_d()
    roles = tuple(replace(role, ports={"kv": 65472}) for role in spec.roles)
    assert ports(replace(spec, roles=roles))["decode-63"]["kv"].ports == range(65535, 65536)


def test_ports_of_hccl_are_where_the_file_puts_them():
    role = serve(tp=16, env={"HCCL_IF_BASE_PORT": "9000"})
    _, problems = placed(cluster(role))
    assert [problem.text for problem in problems] == [
        "port 9000 of n1 (192.0.0.1) is wanted by both HCCL (its own host ports) and serve-0 (HTTP)"
    ]
    moved = serve(tp=16, env={"HCCL_IF_BASE_PORT": "50000"}, ports={"http": 60000})
    assert placed(cluster(moved))[1] == ()
