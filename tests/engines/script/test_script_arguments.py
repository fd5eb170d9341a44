"""Own scripts held against their contract and the cluster file, and what is read of a shell script."""

import pytest
from msgspec.structs import replace
from specs import cluster, nodes, serve

from dplaunch.engines import adapter
from dplaunch.engines.script.reading import flags, read
from dplaunch.model.cluster import EngineSpec, RoleSpec

GOOD = """#!/bin/bash
devices=$1 port=$2
rank="$4"
export ASCEND_RT_VISIBLE_DEVICES=$devices HCCL_IF_IP=$LOCAL_IP
vllm serve /data/m --port ${port} --data-parallel-size $3 --data-parallel-rank=$rank \\
  --data-parallel-address $5 --data-parallel-rpc-port "$6" --tensor-parallel-size $7 \\
  --served-model-name other m
"""


def found(text, role=None, version="0.23.0", **changes):
    engine = EngineSpec(kind="script", version=version, path="/x/run.sh", script_text=text)
    spec = cluster(role or serve(dp=2, tp=8), kind="script", model="/data/m", served_model_name="m")
    return adapter("script").check(replace(spec, engine=engine, **changes))


def errors(text, role=None, **changes):
    return [problem.text for problem in found(text, role, **changes) if not problem.warning]


def one(text, *words: str, role=None, **changes):
    [said] = errors(text, role, **changes)
    assert all(word in said for word in words), said


def test_arguments_are_followed_through_variables():
    assert found(GOOD) == ()
    assert found(GOOD.replace("$4", "${4:-0}")) == ()
    assert found(GOOD.replace("--data-parallel-rank=$rank", "-dpn $(( $4 ))")) == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('rank="$4"', "rank=0", ("line 5", "--data-parallel-rank is fixed to 0", "every rank")),
        ('rank="$4"', "rank=$3", ("--data-parallel-rank gets $3, which is dp_size", "dp_rank is $4")),
        ('rank="$4"', "rank=$9", ("gets $9, which is not an argument",)),
        ("--port ${port} ", "", ("gives no --port", "port 8000")),
        ("--port ${port}", "--port 8900", ("--port is fixed to 8900",)),
        ("devices=$1", "devices=0,1,2,3,4,5,6,7", ("ASCEND_RT_VISIBLE_DEVICES is fixed",)),
        ("ASCEND_RT_VISIBLE_DEVICES=$devices", "A=1", ("gives no ASCEND_RT_VISIBLE_DEVICES", "same devices")),
        ("--data-parallel-size $3", "--data-parallel-size 4", ("fixed to 4, and serve has 2",)),
        ("$5", "192.0.9.9", ("--data-parallel-address is fixed to 192.0.9.9",)),
        ("--tensor-parallel-size $7", "", ("gives no --tensor-parallel-size",)),
        ("--port", "--headless --port", ("--headless", "internal load balancer")),
        ("other m", "other", ("--served-model-name is other, and the file asks for m", "404")),
        ("$LOCAL_IP", "192.0.9.8", ("the address 192.0.9.8 in HCCL_IF_IP is fixed",)),
        ("--port", "--max-modle-len 5 --port", ("no flag --max-modle-len",)),
        ("--port", "--gpu-memory-utilization 90 --port", ("at most 1, not 90",)),
        (
            "--port",
            "--pipeline-parallel-size 2 --port",
            ("--pipeline-parallel-size is 2, and serve has pp 1",),
        ),
        ("$LOCAL_IP", "xxx", ("placeholder 'xxx' is left in HCCL_IF_IP",)),
    ],
)
def test_what_does_not_arrive_or_contradicts_is_an_error(old, new, words):
    assert old in GOOD
    one(GOOD.replace(old, new, 1), *words)


def test_values_that_are_right_for_every_rank_may_be_literals():
    text = GOOD.replace("$3", "2").replace("$7", "8").replace("$5", "192.0.0.1").replace('"$6"', "13395")
    assert found(text) == ()


def test_one_engine_may_have_a_port_of_its_own():
    text = "export ASCEND_RT_VISIBLE_DEVICES=$1\nvllm serve /data/m --port 8900 --data-parallel-size 1 --served-model-name m"
    assert errors(f"{text} --tensor-parallel-size 16", serve(tp=16)) == []


def test_what_reading_cannot_follow_is_left_alone():
    shifted = GOOD.replace("devices=$1 port=$2", "d=$1; shift; port=$1")
    assert errors(shifted) == []
    given = GOOD.replace('rank="$4"', "rank=$(cat /tmp/rank)")
    assert errors(given) == []


def test_windows_line_ends_are_an_error():
    [problem] = found(GOOD.replace("\n", "\r\n"))
    assert "line 1" in problem.text
    assert "sed -i" in problem.hint


def test_expert_parallelism_of_the_file_must_be_in_the_script():
    one(GOOD, "--enable-expert-parallel", role=serve(dp=2, tp=8, expert_parallel=True))


KV = """ --kv-transfer-config '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_producer", "kv_port": "61000",
 "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 4}, "decode": {"dp_size": 4, "tp_size": 8}}}'
"""


def pair(prefill_text, decode_text=None):
    roles = (
        RoleSpec(name="prefill", nodes=("n1",), dp=2, tp=4),
        RoleSpec(name="decode", nodes=("n2",), dp=4, tp=4),
    )
    if decode_text:
        roles = (roles[0], replace(roles[1], path="/x/decode.sh", script_text=decode_text))
    return found(prefill_text, roles=roles, nodes=nodes(2))


def test_one_script_cannot_be_producer_and_consumer():
    texts = [p.text for p in pair(GOOD.rstrip() + KV)]
    assert any("kv_role kv_producer" in text and "decode is kv_consumer" in text for text in texts)
    assert any("gives decode tp_size 8, and the file starts it with tp 4" in text for text in texts)
    assert len(texts) == 2


def test_each_role_may_have_a_script_of_its_own():
    right = GOOD.rstrip() + KV.replace('"dp_size": 4, "tp_size": 8', '"dp_size": 4, "tp_size": 4')
    assert pair(right, right.replace("kv_producer", "kv_consumer")) == ()
    [problem] = pair(right, right.replace("kv_producer", "kv_consumer").replace('"$4"', "0"))
    assert problem.key == "roles.decode.path"


def test_a_script_is_read_as_the_shell_reads_it():
    text = "a='x y' b=\"$a\"\\\n-z # no\ncat <<E\n--not 1\nE\nargs=(\n --one 'a b'\n --two=$b\n)\nvllm serve m \"${args[@]}\" -tp 4; true\n"
    [words] = read(text).serves()
    assert [(flag.name, flag.value, flag.line) for flag in flags(words)] == [
        ("one", "a b", 7),
        ("two", "x y-z", 8),
        ("tp", "4", 10),
    ]


def test_a_script_that_starts_ranks_by_itself_does_not_use_its_arguments():
    loop = """for i in 0 1; do
  ASCEND_RT_VISIBLE_DEVICES=$i vllm serve /data/m --port $((9000 + i)) --data-parallel-size 2 \\
    --data-parallel-rank $i --data-parallel-address 192.0.0.1 --data-parallel-rpc-port 13395 \\
    --tensor-parallel-size 8 --served-model-name m &
done
"""
    one(loop, "never uses its arguments")
