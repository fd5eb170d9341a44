"""What FastDeploy refuses, and what it would do silently and wrong, is said before anything starts."""

import os
import subprocess
from itertools import pairwise

import pytest

from dplaunch import plan, spec
from dplaunch.model.plan import StopStep

FILE = """\
cluster: c
engine: {kind: fastdeploy, version: "%(version)s"}
model: some/model
served_model_name: m
hardware: gpu-8
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]"}
roles:%(roles)s
router: {%(router)s}
%(more)s
"""
SERVE = "\n  serve: {nodes: 'n[1-2]', groups: 2, dp: 8%s}"
EXPERTS = SERVE % ", ep: 8"
SPLIT = "\n  prefill: {nodes: n1, dp: 8%s}\n  decode: {nodes: n2, dp: 8%s}"
OWN = "kind: fastdeploy"


def loaded(roles=SERVE % "", version="2.5.0", router="", more=""):
    values = {"roles": roles, "version": version, "router": router, "more": more}
    return spec.load(FILE % values, "c.yaml", read_file=lambda _: "").spec


def built(roles=SERVE % "", **named):
    return plan.build(loaded(roles, **named), router_files={})


def script(process, planned):
    node = next(node for node in planned.nodes if node.name == process.node)
    return next(file.text for file in node.files if file.path == process.argv[1])


def words(process, planned):
    """Flag → its value on the command line that the script holds."""
    text = script(process, planned)
    command = text[text.index("exec ") :].replace("\\\n", " ").split()
    return {flag: value for flag, value in pairwise(command) if flag.startswith("--")}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"version": "2.1.0"}, "engine.version"),
        ({"roles": "\n  serve: {nodes: n1, dp: 4, pp: 2}"}, "roles.serve.pp"),
        ({"roles": "\n  serve: {nodes: n1, dp: 4, tp: 2, ep: true}"}, "roles.serve.tp"),
        ({"roles": SPLIT % ("", "")}, "router.kind"),
        ({"version": "2.3.0", "router": OWN}, "router.kind"),
        ({"roles": "\n  prefill: {nodes: n1, dp: 4, tp: 2}\n  decode: {nodes: n2, dp: 2, tp: 4}", "router": OWN}, "roles.decode.tp"),
        ({"roles": SPLIT % (", args: {cache-transfer-protocol: ipc}", ", args: {cache-transfer-protocol: ipc}"), "router": OWN}, "roles.decode.args.cache-transfer-protocol"),
        ({"roles": SPLIT % (", args: {cache-transfer-protocol: ipc}", ""), "router": OWN}, "roles.decode.args.cache-transfer-protocol"),
        ({"more": "overrides: {serve-3: {args: {seed: 1}}}"}, "overrides.serve-3"),
        ({"roles": SERVE % ", args: {max-num-seqs: 300}"}, "roles.serve.args.max-num-seqs"),
        ({"roles": SERVE % ", env: {CUDA_VISIBLE_DEVICES: '0,1'}"}, "roles.serve.env.CUDA_VISIBLE_DEVICES"),
        ({"roles": SERVE % ", env: {FD_LOG_DIR: /x}"}, "roles.serve.env.FD_LOG_DIR"),
        ({"roles": EXPERTS, "more": "redis: {node: n1}", "router": OWN, "version": "2.3.0"}, "router.kind"),
        ({"more": "redis: {node: n1}", "version": "2.3.0"}, "roles.serve.dp"),
        ({"roles": "\n  serve: {nodes: 'n[1-2]', dp: 16, ep: 16}", "more": "redis: {node: n1}", "version": "2.3.0"}, "roles.serve.groups"),
    ],
)  # fmt: skip
def test_what_it_refuses_is_a_problem_of_its_key(given, key):
    found = [problem.key for problem in plan.check(loaded(**given)) if not problem.warning]
    assert found == [key]


def test_an_early_router_is_a_warning():
    [problem] = plan.check(loaded(version="2.4.0", router=OWN))
    assert (problem.key, problem.warning) == ("router.kind", True)


def test_a_key_that_no_engine_asks_for_is_a_warning():
    key = "api_key: {from_env: K}"
    found = [plan.check(loaded(version=version, more=key)) for version in ("2.3.0", "2.4.0")]
    assert [[(p.key, p.warning) for p in problems] for problems in found] == [[("api_key", True)], []]


def test_every_list_of_ports_has_one_for_each_rank_and_device():
    planned = built("\n  prefill: {nodes: n1, dp: 4, tp: 2}\n  decode: {nodes: n2, dp: 4, tp: 2}", router=OWN)
    for process in (p for p in planned.processes if p.kind == "engine"):
        found = words(process, planned)
        counts = {flag: len(value.split(",")) for flag, value in found.items() if "port" in flag}
        assert counts == {
            "--ports": 4,
            "--engine-worker-queue-port": 4,
            "--cache-queue-port": 4,
            "--pd-comm-port": 4,
            "--rdma-comm-ports": 8,
        }
        assert sorted(process.ports) == sorted(
            int(port) for flag, value in found.items() if "port" in flag for port in value.split(",")
        )
        assert found["--router"] == "192.0.2.1:8000"
        assert found["--splitwise-role"] == process.role


def test_roles_of_one_node_share_no_port_no_device_and_no_folder():
    planned = built("\n  prefill: {nodes: n1, dp: 4}\n  decode: {nodes: n1, dp: 4}", router=OWN)
    prefill, decode = (p for p in planned.processes if p.kind == "engine")
    assert not set(prefill.ports) & set(decode.ports)
    assert {seat.devices for seat in prefill.seats}.isdisjoint(seat.devices for seat in decode.seats)
    assert words(decode, planned)["--cache-transfer-protocol"] == "ipc"
    assert "KVCACHE_RDMA_NICS" not in script(decode, planned)
    assert {log.path for log in prefill.logs}.isdisjoint(log.path for log in decode.logs)


def test_a_group_over_two_nodes_names_both_the_master_first():
    planned = built("\n  serve: {nodes: 'n[1-2]', dp: 16, ep: 16, master: n2}")
    found = [words(p, planned) for p in planned.processes if p.kind == "engine"]
    assert [(one["--ips"], one["--num-servers"], one["--data-parallel-size"]) for one in found] == [
        ("192.0.2.2,192.0.2.1", "8", "16")
    ] * 2


def test_before_2_5_metrics_have_ports_that_the_router_does_not_ask():
    old, new = built(version="2.3.0"), built()
    first = next(p for p in old.processes if p.kind == "engine")
    assert words(first, old)["--metrics-ports"] == ",".join(str(9200 + rank) for rank in range(8))
    assert {e.api.metrics for e in old.endpoints} == {""}
    assert {e.api.running for e in new.endpoints} == {"fastdeploy:num_requests_running"}


def test_it_is_asked_to_end_by_the_signal_that_reaches_its_servers():
    first = built().processes[0]
    assert first.stop[0] == StopStep("INT", 30.0)
    assert [step.signal for step in first.stop] == ["INT", "TERM", "KILL"]


def test_its_router_is_rehearsed_too_and_any_other_one_is_ours():
    planned = plan.build(loaded(SPLIT % ("", ""), router=OWN), rehearse=True, router_files={})
    assert planned.router.kind == "fastdeploy"
    other = plan.build(loaded(router="kind: vllm-router"), rehearse=True, router_files={})
    assert other.router.kind == "dplaunch"


def test_a_single_rank_of_a_node_may_be_overridden():
    text = "overrides: {serve-1: {args: {seed: 7}}}"
    planned = built("\n  serve: {nodes: 'n[1-2]', groups: 2, tp: 8}", more=text)
    seeds = [words(p, planned).get("--seed") for p in planned.processes if p.kind == "engine"]
    assert seeds == [None, "7"]


def test_adapters_given_in_the_file_are_not_looked_for():
    given = loaded(SPLIT % (", env: {KVCACHE_RDMA_NICS: mlx5_2}", ""), router=OWN)
    texts = [
        f.text for n in plan.build(given, router_files={}).nodes for f in n.files if "run_fast" in f.path
    ]
    assert ["infiniband" in text for text in texts] == [False, True]
    assert "export KVCACHE_RDMA_NICS=mlx5_2" in texts[0]


def test_with_redis_a_group_is_one_server_with_one_http_port():
    planned = built(
        EXPERTS, version="2.3.0", more="redis: {url: 'redis://192.0.2.9:6380', password: {from_env: P}}"
    )
    first, second = (p for p in planned.processes if p.kind == "engine")
    assert [(e.name, e.url) for e in (*first.endpoints, *second.endpoints)] == [
        ("serve-0", "http://192.0.2.1:9000"),
        ("serve-8", "http://192.0.2.2:9000"),
    ]
    found = words(first, planned)
    assert (found["--scheduler-host"], found["--scheduler-port"], found["--scheduler-topic"]) == (
        *("192.0.2.9", "6380"),
        "c",
    )
    assert len(found["--engine-worker-queue-port"].split(",")) == 8
    assert list(first.env) == ["DPLAUNCH_REDIS_PASSWORD"]
    assert (planned.registry.address, planned.registry.key) == ("192.0.2.9:6380", "c.cluster")


def test_the_script_ends_where_redis_cannot_be_reached(tmp_path):
    planned = built(EXPERTS, version="2.3.0", more="redis: {url: 'redis://127.0.0.1:1'}")
    [text] = [f.text for f in planned.nodes[0].files if f.path.endswith("run_fastdeploy.sh")]
    (tmp_path / "serve" / "0").mkdir(parents=True)
    ended = subprocess.run(
        ["bash", "-c", text], env={"PATH": os.environ["PATH"], "DPLAUNCH_ROOT": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=20, cwd=tmp_path,
    )  # fmt: skip
    assert (ended.returncode, "Redis at 127.0.0.1:1 cannot be reached" in ended.stderr) == (1, True)
