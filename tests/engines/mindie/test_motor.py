"""MindIE Motor: user_config.json from the cluster file, what would be refused, and what stands for the pods."""

import json
from pathlib import Path

import pytest
import yaml

from dplaunch import plan, spec
from dplaunch.errors import SpecError
from dplaunch.render import clusters_root

EXAMPLE = (clusters_root() / "deepseek-r1-mindie-motor.yaml").read_text()
HERE = Path(__file__).parent


def loaded(**changes):
    """The example with other values at dotted paths; None takes a key out."""
    data = yaml.safe_load(EXAMPLE)
    for path, value in changes.items():
        *above, key = path.split(".")
        place = data
        for step in above:
            place = place.setdefault(step, {})
        if value is None:
            del place[key]
        else:
            place[key] = value
    return spec.load(yaml.safe_dump(data), "motor.yaml", read_file=lambda name: Path(name).read_text()).spec


def configuration(**changes):
    [node] = plan.build(loaded(**changes)).nodes
    [file] = [file for file in node.files if file.path == "motor/user_config.json"]
    assert file.mode == 0o640  # the scripts refuse what others may read
    return json.loads(file.text)


def model(data, side):
    backend = data[f"mindie_server_{side}_config"]["BackendConfig"]
    [found] = backend["ModelDeployConfig"]["ModelConfig"]
    return backend, found


def test_the_configuration_has_the_values_of_the_document():
    data = configuration()
    deploy = data["deploy_config"]
    assert [deploy[f"{name}_instances_num"] for name in "pd"] == [4, 1]
    assert [deploy[f"single_{name}_instance_pod_num"] for name in "pd"] == [2, 8]
    assert (deploy["job_id"], deploy["hardware_type"], deploy["model_id"]) == ("mindie", "800I_A2", "")
    backend, found = model(data, "prefill")
    assert (found["moe_ep"], found["moe_tp"], found["dp"], found["tp"]) == (4, 4, 2, 8)
    schedule = backend["ScheduleConfig"]
    assert (schedule["maxPrefillBatchSize"], schedule["maxPrefillTokens"]) == (4, 4096)
    assert found["modelName"] == "dsv3_w8a8"


def test_an_instance_over_several_pods_has_the_devices_of_each():
    backend, found = model(configuration(), "prefill")
    assert (backend["multiNodesInferEnabled"], found["worldSize"]) == (True, 8)
    assert backend["npuDeviceIds"] == [list(range(8))]


def test_decode_has_a_server_for_each_rank():
    data = configuration()
    backend, found = model(data, "decode")
    assert data["mindie_server_decode_config"]["ServerConfig"]["distDPServerEnabled"] is True
    assert (
        data["deploy_config"]["prefill_distribute_enable"],
        data["deploy_config"]["decode_distribute_enable"],
    ) == (0, 1)
    assert (backend["multiNodesInferEnabled"], backend["npuDeviceIds"], found["worldSize"]) == (
        False,
        [[0]],
        1,
    )
    assert (found["dp"], found["moe_ep"], found["moe_tp"]) == (64, 64, 1)


def test_hardware_of_the_next_family_has_sixteen_devices_in_a_pod():
    roles = {
        "roles.prefill.pods": 1,
        "roles.decode.pods": 4,
        "roles.prefill.args": {"moe_ep": 16, "moe_tp": 1},
    }
    data = configuration(hardware="atlas-800i-a3", **roles)
    deploy = data["deploy_config"]
    assert (deploy["hardware_type"], deploy["p_pod_npu_num"]) == ("800I_A3", 16)
    assert deploy["mindie_env_path"] == "./conf/mindie_env_a3.json"
    assert model(data, "prefill")[0]["multiNodesInferEnabled"] is False


def test_what_the_coordinator_is_given_is_laid_over_what_is_usual():
    data = configuration(**{"router.args": {"request_limit": {"max_requests": 5}}})
    limits = data["mindie_ms_coordinator_config"]["request_limit"]
    assert limits == {"single_node_max_requests": 4096, "max_requests": 5}


def test_one_process_stands_for_each_instance_and_one_for_the_coordinator():
    planned = plan.build(loaded())
    assert planned.url == "http://192.0.2.1:31015"
    names = [process.name for process in planned.processes]
    assert names == ["deploy", "prefill-0", "prefill-1", "prefill-2", "prefill-3", "decode-0", "router"]
    router = planned.router_process
    assert (router.endpoints[0].url, router.endpoints[0].health_url) == (planned.url, "http://192.0.2.1:8999")
    assert router.ports == (8999,)  # the other one is a pod's
    assert len(planned.processes[5].logs) == 7


def test_other_settings_are_another_deployment():
    first, second = (
        plan.build(loaded(**changes)).deployment for changes in ({}, {"roles.decode.env": {"A": "1"}})
    )
    assert first.digest != second.digest
    assert [str(one) for one in first.objects][:2] == [
        "ascendjobs mindie-controller",
        "ascendjobs mindie-coordinator",
    ]
    assert first.shapes["prefill"] == "2 pods × 8 devices (dp 2, tp 8, experts 4 × 4)"


WRONG = {
    "dp": {"roles.prefill.dp": 4},
    "experts": {"roles.prefill.args": {"moe_ep": 4, "moe_tp": 2}},
    "pods": {"roles.prefill.pods": 9, "roles.prefill.dp": 9},
    "groups": {"roles.decode.groups": 21},
    "tp": {"roles.decode.tp": 16, "roles.decode.dp": 4, "roles.decode.ep": 64},
    "one rank": {"roles.decode.pods": 1, "roles.decode.dp": 1, "roles.decode.tp": 8, "roles.decode.ep": None,
                 "roles.decode.args": {"distDPServerEnabled": True}},
    "batch": {"roles.decode.args": {"maxPrefillBatchSize": 100, "maxBatchSize": 64}},
    "tokens": {"defaults.args": {"maxInputTokenLen": 8192, "maxSeqLen": 8192}},
    "unknown field": {"roles.prefill.args.maxPrefilTokens": 1},
    "secret": {"roles.decode.env": {"HF_TOKEN": {"from_env": "HF_TOKEN"}}},
    "value of the node": {"roles.decode.env": {"A": "${B}"}},
    "model": {"model": "deepseek-r1"},
    "router port": {"router.port": 8000},
    "router args": {"router.args": {"log-level": "info"}},
    "mount": {"kubernetes.mounts": {"/data": "/data:ro"}},
    "kv_transfer": {"kv_transfer": {"connector": "Mooncake"}},
    "api_key": {"api_key": {"from_env": "K"}},
    "overrides": {"overrides": {"decode-0": {"env": {"A": "1"}}}},
    "hardware": {"hardware": {"devices": 8, "family": "cpu"}},
    "driver": {"driver": None},
    "package": {"kubernetes.package": None},
    "key of the section": {"kubernetes.host": "192.0.2.9"},
    "nodes": {"nodes": [{"name": "n[1-2]", "host": "192.0.2.[1-2]"}], "roles.prefill.nodes": "n1", "roles.decode.nodes": "n2"},
    "devices of the node": {"nodes": [{"name": "control", "host": "192.0.2.1", "devices": 8}]},
    "router kind": {"router": {"kind": "dplaunch"}},
    "role": {"roles.prefill": None, "roles.serve": {"nodes": "control", "dp": 2, "tp": 8, "pods": 2}, "roles.decode": None},
    "other engine": {"engine.kind": "mindie"},
}  # fmt: skip


def test_what_would_be_refused_is_found_first(expect):
    texts = []
    for name, changes in WRONG.items():
        with pytest.raises(SpecError) as caught:
            plan.build(loaded(**changes))
        lines = [f"{one.key}: {one.text}\n  {one.hint}" for one in caught.value.problems if not one.warning]
        texts.append("\n".join((f"# {name}", *lines)))
    expect(HERE / "motor.problems", "\n\n".join(texts) + "\n")
