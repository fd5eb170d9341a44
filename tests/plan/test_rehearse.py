import json

import pytest
from fakevllm import TELLER, Stage
from msgspec.structs import replace
from specs import cluster, four_p_four_d, nodes, serve

from dplaunch import plan
from dplaunch.model.cluster import Container, EngineSpec, RouterSpec, RuntimeSpec, SshSpec
from dplaunch.plan.rehearse import address


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_every_node_comes_to_this_machine():
    runtime = RuntimeSpec(setup=("source /cann",), python="/opt/py")
    spec = four_p_four_d(runtime=runtime, container=Container("box"))
    spec = replace(spec, nodes=tuple(replace(n, ssh=SshSpec(user="root", jump="j")) for n in spec.nodes))
    found = plan.rehearsed(spec)
    assert {(n.host, n.nic, n.ssh) for n in found.nodes} == {("localhost", "lo", SshSpec())}
    assert [n.address for n in found.nodes] == [address("c1", index) for index in range(8)]
    assert (found.runtime, found.container) == (RuntimeSpec(), None)
    assert (found.engine, found.roles) == (spec.engine, spec.roles)


@pytest.mark.parametrize("index", [0, 253, 254, 600])
def test_addresses_are_loopback_and_usable(index):
    first, second, third, last = map(int, address("some cluster", index).split("."))
    assert first == 127
    assert 16 <= second <= 215
    assert 0 <= third <= 255
    assert 1 <= last <= 254


def test_addresses_follow_from_name_and_place():
    assert address("a", 3) == address("a", 3)
    assert len({address("a", index) for index in range(600)}) == 600
    assert address("a", 0) != address("b", 0)
    assert [address("deepseek-r1", index) for index in (0, 7, 253, 254)] == [
        "127.56.97.1",
        "127.56.97.8",
        "127.56.97.254",
        "127.56.98.1",
    ]


def test_foreign_routers_are_played_by_ours():
    proxy = RouterSpec(node="n1", kind="vllm-ascend", path="/p.py", port=8123, args={"x": 1})
    assert plan.rehearsed(four_p_four_d(router=proxy)).router == RouterSpec(node="n1", port=8123)
    mine = RouterSpec(node="n1", workers=3, args={"grace": 1, "host": "192.0.2.9"})
    here = RouterSpec(node="n1", workers=3, args={"grace": 1})
    assert plan.rehearsed(four_p_four_d(router=mine)).router == here
    assert plan.rehearsed(four_p_four_d(router=None)).router is None
    nobody = RouterSpec(node="n1", kind="none")
    assert plan.rehearsed(four_p_four_d(router=nobody)).router == nobody


def test_a_rehearsal_plan(stage):
    planned = plan.build(four_p_four_d(), rehearse=True, python="/the/python")
    assert (planned.rehearsal, planned.local) == (True, True)
    first = planned.nodes[0]
    stand_in = next(f for f in first.files if f.path == "bin/vllm")
    assert stand_in.mode == 0o755
    router = next(f.text for f in first.files if f.path == "router/run_router.sh")
    assert "exec /the/python -m dprouter" in router
    assert f"--host {first.address}" in router
    stage.put(first)
    stage.program("python3", TELLER)
    ran = stage.run(first.processes[1], DPLAUNCH_BUNDLE="/the bundle")
    assert ran.argv[:7] == ["-I", "-S", "/the bundle", "rehearsal", "vllm", "serve", "some/model"]
    expected = {
        "DPLAUNCH_REHEARSAL_BIND": first.address,
        "DPLAUNCH_REHEARSAL_VERSION": "0.23.0",
        "DPLAUNCH_REHEARSAL_DEVICES": "16",
        "HCCL_SOCKET_IFNAME": "lo",
        "VLLM_HOST_IP": first.address,
    }
    assert ran.env.items() >= expected.items()
    assert ran.option("data-parallel-address") == first.address


def test_the_bundle_may_lie_anywhere_but_must_be_known(stage):
    planned = plan.build(four_p_four_d(), rehearse=True)
    stage.put(planned.nodes[0])
    ran = stage.run(planned.nodes[0].processes[0])
    assert ran.code != 0
    assert "DPLAUNCH_BUNDLE" in ran.err


def test_root_of_the_guard_wins_over_the_scripts_place(stage, tmp_path):
    planned = plan.build(four_p_four_d(), rehearse=True)
    stage.put(planned.nodes[0])
    root = tmp_path / "else where"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "vllm").symlink_to(stage.bin / "vllm")
    ran = stage.run(planned.nodes[0].processes[0], DPLAUNCH_ROOT=str(root))
    assert ran.argv[0] == "serve"


def test_the_version_played_is_that_of_vllm():
    planned = plan.build(four_p_four_d("0.14.0rc1"), rehearse=True)
    text = next(f.text for f in planned.nodes[0].files if f.path == "prefill/run_dp_template.sh")
    assert "export DPLAUNCH_REHEARSAL_VERSION=0.14.1\n" in text


def rehearsal(**changes):
    spec = cluster(serve(dp=2), kind="rehearsal", router=RouterSpec(node="n1"), nodes=nodes(1, devices=0))
    return replace(spec, engine=EngineSpec(kind="rehearsal", version="0.23.0"), **changes)


def test_the_rehearsal_engine_stays_where_the_file_puts_it():
    planned = plan.build(rehearsal(), python="/the/python")
    assert (planned.rehearsal, planned.local, planned.engine) == (
        True,
        False,
        "rehearsal of vllm-ascend 0.23.0",
    )
    (node,) = planned.nodes
    assert (node.host, node.address) == ("h1", "192.0.0.1")
    text = {f.path: f.text for f in node.files}
    assert "exec python3 -m dprouter" in text["router/run_router.sh"]
    assert "--host 192.0.0.1" in text["router/run_router.sh"]
    assert "DPLAUNCH_REHEARSAL_DEVICES" not in text["serve/run_dp_template.sh"]
    assert "VISIBLE_DEVICES" not in text["serve/run_dp_template.sh"]
    assert node.processes[0].argv[2] == ""


@pytest.mark.parametrize(
    ("host", "python"), [("localhost", "/the/python"), ("127.0.0.1", "/the/python"), ("h9", "python3")]
)
def test_our_python_is_for_this_machine_only(host, python):
    spec = rehearsal()
    spec = replace(spec, nodes=(replace(spec.nodes[0], host=host),))
    assert plan.build(spec, python="/the/python").nodes[0].runtime.python == python
    own = replace(spec, runtime=RuntimeSpec(python="/mine"))
    assert plan.build(own, python="/the/python").nodes[0].runtime.python == "/mine"


def test_setup_of_the_file_stays_in_front():
    planned = plan.build(rehearsal(runtime=RuntimeSpec(setup=("export A=1",))))
    text = next(f.text for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert text.index("export A=1") < text.index("DPLAUNCH_ROOT")


def test_a_knob_in_the_file_wins():
    spec = rehearsal()
    node = replace(spec.nodes[0], env={"DPLAUNCH_REHEARSAL_VERSION": "0.18.0"})
    planned = plan.build(replace(spec, nodes=(node,)))
    text = next(f.text for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert "DPLAUNCH_REHEARSAL_VERSION=0.18.0\n" in text
    assert json.dumps(plan.to_json(planned))
