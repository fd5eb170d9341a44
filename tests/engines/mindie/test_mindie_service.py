"""MindIE's service: config.json by rule from the cluster file, one daemon for each node, one endpoint for a group."""

import json

import pytest
from msgspec.structs import replace
from specs import A2, cluster, nodes, serve

from dplaunch import plan
from dplaunch.errors import SpecError
from dplaunch.model.plan import Ready

TWO = ("n1", "n2")


def service(role=None, version="3.0", **changes):
    role = role or serve(nodes=TWO, dp=2, tp=8)
    machines = tuple(replace(node, devices=tuple(range(8))) for node in nodes(len(role.nodes)))
    given = {"model": "/weights", "hardware": A2, "nodes": machines, **changes}
    return cluster(role, kind="mindie", version=version, **given)


def problems(spec):
    with pytest.raises(SpecError) as caught:
        plan.build(spec)
    return [(problem.key, problem.text) for problem in caught.value.problems]


def configuration(role, node=0, **changes):
    planned = plan.build(service(role, **changes))
    [file] = [file for file in planned.nodes[node].files if file.path == "serve/config.json"]
    assert file.mode == 0o640
    return json.loads(file.text)


def test_every_node_has_a_daemon_and_the_group_one_endpoint():
    one, two = plan.build(service()).processes
    assert [(e.name, e.url, e.ranks) for e in one.endpoints] == [("serve-0", "http://192.0.0.1:9000", (0, 1))]
    assert (two.endpoints, two.ready) == ((), Ready("line", "Daemon start success!"))
    assert (one.ports, two.ports) == ((9000, 1120), ())


def test_the_configuration_is_that_of_the_documents_two_servers():
    role = serve(
        nodes=TWO, dp=2, tp=8, args={"moe-ep": 4, "moe-tp": 4, "maxSeqLen": 6000, "kv-trans-timeout": 20}
    )
    one, two = (configuration(role, node) for node in (0, 1))
    backend = two["BackendConfig"]
    assert (backend["multiNodesInferEnabled"], backend["npuDeviceIds"]) == (True, [list(range(8))])
    [model] = backend["ModelDeployConfig"]["ModelConfig"]
    sizes = {name: model[name] for name in ("worldSize", "dp", "tp", "moe_ep", "moe_tp")}
    assert sizes == {"worldSize": 8, "dp": 2, "tp": 8, "moe_ep": 4, "moe_tp": 4}
    assert (model["kv_trans_timeout"], backend["ModelDeployConfig"]["maxSeqLen"]) == (20, 6000)
    assert (model["modelName"], model["modelWeightPath"]) == ("model", "/weights")
    assert [data["ServerConfig"]["ipAddress"] for data in (one, two)] == ["192.0.0.1", "192.0.0.2"]
    assert {data["ServerConfig"]["port"] for data in (one, two)} == {9000}
    assert {data["BackendConfig"]["multiNodesInferPort"] for data in (one, two)} == {1120}


def test_a_section_takes_fields_that_dplaunch_does_not_know():
    data = configuration(serve(tp=8, args={"ScheduleConfig": {"newField": (1, 2)}, "tokenTimeout": 900}))
    assert data["BackendConfig"]["ScheduleConfig"]["newField"] == [1, 2]
    assert data["ServerConfig"]["tokenTimeout"] == 900
    assert data["BackendConfig"]["multiNodesInferEnabled"] is False


def test_the_environment_names_table_configuration_and_own_address():
    env = plan.commands(service())["serve@n2"].env
    assert env["MIES_CONFIG_JSON_PATH"] == "${root}/serve/config.json"
    assert (env["MASTER_IP"], env["MIES_CONTAINER_IP"], env["HOST_IP"]) == (
        "192.0.0.1",
        "${local_ip}",
        "${local_ip}",
    )
    assert env["MIES_RANKTABLEFILE"] == "${root}/ranktable.json"
    assert "RANK_TABLE_FILE" not in plan.commands(service(serve(tp=8)))["serve@n1"].env
    assert plan.build(service()).rank_table.containers


@pytest.mark.parametrize(
    ("version", "program"), [("3.0", "mindie_llm_server"), ("2.1", "./bin/mindieservice_daemon")]
)
def test_the_daemon_is_called_as_its_release_calls_it(version, program):
    spec = service(version=version)
    assert plan.commands(spec)["serve@n1"].argv == (program,)
    [script] = [file for file in plan.build(spec).nodes[0].files if file.path == "serve/mindie.sh"]
    assert script.text.endswith(f"exec {program}\n")
    assert ("MIES_INSTALL_PATH" in script.text) is (version == "2.1")


@pytest.mark.parametrize(
    ("args", "key", "word"),
    [
        ({"port": 1025}, "port", "computed by dplaunch"),
        ({"worldSize": 8}, "worldSize", "computed by dplaunch"),
        ({"maxTokens": 8}, "maxTokens", "no field maxTokens"),
        ({"tokenTimeout": 3601}, "tokenTimeout", "from 1 to 3600"),
        (
            {"maxPrefillTokens": 100},
            "maxPrefillTokens",
            "maxInputTokenLen 2048 of serve is above maxPrefillTokens 100",
        ),
        ({"maxBatchSize": 10}, "maxBatchSize", "maxPrefillBatchSize 50 of serve is above maxBatchSize 10"),
        ({"maxIterTimes": 9000}, "maxIterTimes", "above maxSeqLen"),
        ({"maxPreemptCount": 1}, "maxPreemptCount", "needs cpuMemSize"),
        ({"moe-ep": 4, "moe-tp": 2}, "moe-ep", "is 8, and a group has 16 devices"),
    ],
)
def test_what_the_daemon_would_refuse_is_refused(args, key, word):
    found = problems(service(serve(nodes=TWO, dp=2, tp=8, args=args)))
    assert any(at == f"roles.serve.args.{key}" and word in text for at, text in found), found


def test_a_node_runs_one_daemon_and_a_rank_table_names_one_group():
    assert "roles.serve.groups" in [key for key, _ in problems(service(serve(groups=2, tp=4)))]
    four = serve(nodes=("n1", "n2", "n3", "n4"), groups=2, dp=2, tp=8)
    assert "a rank table names one" in dict(problems(service(four)))["roles.serve.groups"]
    assert len(plan.build(service(serve(nodes=TWO, groups=2, tp=8))).endpoints) == 2


def test_more_than_four_a2_servers_are_a_warning():
    six = serve(nodes=tuple(f"n{n}" for n in range(1, 7)), dp=6, tp=8)
    assert "documents at most 4" in plan.build(service(six)).warnings[0]
