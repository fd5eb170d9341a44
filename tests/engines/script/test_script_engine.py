import pytest
from msgspec.structs import replace
from specs import cluster, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.engines.script.adapter import contracts
from dplaunch.engines.vllm.forms import CONTRACT_A, CONTRACT_B
from dplaunch.model.cluster import EngineSpec, KvTransferSpec, RuntimeSpec

A = """#!/bin/sh
# --data-parallel-size is for later versions
export VLLM_DP_SIZE=$1
export VLLM_DP_MASTER_IP="$2"
export VLLM_DP_MASTER_PORT=$3 VLLM_DP_RANK_LOCAL=$4 VLLM_DP_RANK=$5 VLLM_DP_SIZE_LOCAL=$7
exec vllm serve m --port $6 --tensor-parallel-size 8
"""
B = """#!/bin/sh
# was: export VLLM_DP_SIZE=$1
export ASCEND_RT_VISIBLE_DEVICES=$1
exec vllm serve m --port $2 --data-parallel-size $3 --data-parallel-rank $4 \\
  --data-parallel-address $5 --data-parallel-rpc-port $6 --tensor-parallel-size $7
"""
NEITHER = "exec vllm serve m --port $1\n"


def own(text, version="0.23.0", **changes):
    engine = EngineSpec(kind="script", version=version, path="x/run.sh", script_text=text)
    same = {"model": "m", "served_model_name": "m"}
    return replace(cluster(serve(dp=2, tp=8), kind="script"), engine=engine, **same, **changes)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (A, (CONTRACT_A,)),
        (B, (CONTRACT_B,)),
        (NEITHER, ()),
        (A + B, (CONTRACT_A, CONTRACT_B)),
        ("VLLM_DP_RANK=${5}", (CONTRACT_A,)),
        ("echo $VLLM_DP_SIZE", ()),
    ],
)
def test_the_contract_is_what_the_script_reads(text, found):
    assert contracts(text) == found


@pytest.mark.parametrize(
    ("text", "version", "argv"),
    [
        (A, "0.9.1", ("2", "192.0.0.1", "13395", "1", "1", "9001", "2")),
        (B, "0.23.0", ("8,9,10,11,12,13,14,15", "9001", "2", "1", "192.0.0.1", "13395", "8")),
    ],
)
def test_arguments_follow_the_contract(text, version, argv):
    planned = plan.build(own(text, version))
    assert planned.processes[1].argv == ("bash", "serve/start.sh", *argv)
    sent = next(f for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert sent.text == text


def test_the_script_runs_in_a_prepared_shell(stage):
    spec = own(B, runtime=RuntimeSpec(setup=("export FROM_SETUP=1", "cd /")))
    spec = replace(spec, roles=(replace(spec.roles[0], env={"MINE": "$(x) ${FROM_SETUP}"}),))
    planned = plan.build(spec)
    stage.put(planned.nodes[0])
    ran = stage.run(planned.processes[1])
    assert (ran.code, ran.err) == (0, "")
    assert ran.argv == [
        "serve",
        "m",
        "--port",
        "9001",
        "--data-parallel-size",
        "2",
        "--data-parallel-rank",
        "1",
        *("--data-parallel-address", "192.0.0.1", "--data-parallel-rpc-port", "13395"),
        *("--tensor-parallel-size", "8"),
    ]
    expected = {"FROM_SETUP": "1", "MINE": "$(x) 1", "LOCAL_IP": "192.0.0.1", "NIC_NAME": "eth0"}
    assert ran.env.items() >= expected.items()
    assert ran.env["ASCEND_RT_VISIBLE_DEVICES"] == "8,9,10,11,12,13,14,15"


def test_contract_a_scripts_get_the_devices_of_their_group(stage):
    planned = plan.build(own(A, "0.9.1"))
    stage.put(planned.nodes[0])
    ran = stage.run(planned.processes[1])
    assert ran.env["ASCEND_RT_VISIBLE_DEVICES"] == ",".join(map(str, range(16)))
    assert (ran.env["VLLM_DP_SIZE"], ran.env["VLLM_DP_MASTER_IP"]) == ("2", "192.0.0.1")


def found(spec):
    return adapter("script").check(spec)


def test_the_wrong_era_is_refused_with_the_reason():
    old, *_ = found(own(A))
    assert old.key == "engine.path"
    assert "die after loading" in old.text
    (new,) = found(own(B, "0.9.1"))
    assert "0.9.1 has no --data-parallel-rank" in new.text
    assert found(own(A, "0.9.1")) == ()
    assert found(own(B)) == ()
    assert found(own(B, "")) == ()


@pytest.mark.parametrize(("text", "word"), [(NEITHER, "neither"), (A + B, "both"), ("", "neither")])
def test_an_unclear_script_is_a_problem(text, word):
    problem, *others = found(own(text))
    assert all(other.warning for other in others)
    assert problem.key == "engine.path"
    assert word in problem.text


def test_what_no_script_would_hear_of_is_a_problem():
    spec = own(B, kv_transfer=KvTransferSpec(connector="MooncakeConnectorV1"))
    spec = replace(spec, roles=(replace(spec.roles[0], args={"seed": 1}, env={"LOCAL_IP": "x"}),))
    assert [p.key for p in found(spec)] == ["kv_transfer", "roles.serve.args", "roles.serve.env.LOCAL_IP"]


def test_it_says_for_which_version():
    assert adapter("script").release(own(B)) == "script for 0.23.0"
    assert adapter("script").release(own(B, "")) == "script"
