"""user_config.json of MindIE's deployment scripts: instances, pods and both servers, from the cluster file.

Values that the file does not give are those of MindIE Motor's own user_config.json.
Source: MindIE-Motor, management_service/example/deploy_scripts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from dplaunch.engines.flags import plain
from dplaunch.engines.mindie import config, parallel
from dplaunch.model.cluster import DECODE, ArgValue, ClusterSpec, RoleSpec

LOGS = "/var/log/mindie"
"""Where MindIE writes its log in the pods."""
HARDWARE = {"a2": "800I_A2", "a3": "800I_A3"}
ENVIRONMENTS = {"a2": "conf/mindie_env.json", "a3": "conf/mindie_env_a3.json"}
"""Files of the package with the environment of all components."""
PARTS = ("infer", "management", "metrics", "cluster", "etcd_server")
"""What has certificates of its own. TLS is off: its certificates are the site's."""

_COMMON: dict[str, config.Section] = {
    "ServerConfig": {"inferMode": "dmi", "tokenTimeout": 60, "e2eTimeout": 600},
    "BackendConfig": {"tokenizerProcessNumber": 1},
    "ModelDeployConfig": {"maxSeqLen": 2560, "maxInputTokenLen": 2048},
    "ModelConfig": {
        "modelInstanceType": "Standard",
        "cpuMemSize": 5,
        "npuMemSize": -1,
        "backendType": "atb",
        "trustRemoteCode": False,
        "kv_link_timeout": 1080,
    },
    "ScheduleConfig": {"maxPrefillTokens": 4096},
}
_PREFILL: dict[str, config.Section] = {
    "ServerConfig": {"maxLinkNum": 4096},
    "ScheduleConfig": {"maxPrefillBatchSize": 16},
}
_DECODE: dict[str, config.Section] = {
    "ServerConfig": {"maxLinkNum": 256, "fullTextEnabled": False},
    "ModelDeployConfig": {"truncation": False},
    "ModelConfig": {"kv_trans_timeout": 10},
    "ScheduleConfig": {
        "maxPrefillBatchSize": 4,
        "maxBatchSize": 64,
        "maxIterTimes": 2048,
        "maxQueueDelayMicroseconds": 5000,
    },
}
COORDINATOR: dict[str, config.Section] = {
    "http_config": {
        "predict_ip": "127.0.0.1",
        "predict_port": "1025",
        "manage_ip": "127.0.0.1",
        "manage_port": "1026",
        "alarm_port": "1027",
        "server_thread_num": 10,
        "client_thread_num": 10,
        "http_timeout_seconds": 10,
        "keep_alive_seconds": 180,
    },
    "request_limit": {"single_node_max_requests": 4096, "max_requests": 10000},
    "exception_config": {"first_token_timeout": 600, "schedule_timeout": 600, "infer_timeout": 3600},
}
"""Of the coordinator; ``router.args`` is laid over it, section by section."""


def write(spec: ClusterSpec) -> str:
    """The text of user_config.json."""
    prefill, decode = spec.roles
    whole = {
        "version": "v1.0",
        "deploy_config": _deploy(spec, prefill, decode),
        "mindie_ms_controller_config": {
            "deploy_mode": "pd_separate",
            "digs_prefill_slo": 1000,
            "digs_decode_slo": 50,
            "multi_node_infer_config": {"multi_node_infer_enable": True},
        },
        "mindie_ms_coordinator_config": _coordinator(spec),
        "mindie_server_prefill_config": _server(spec, prefill),
        "mindie_server_decode_config": _server(spec, decode),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def devices(spec: ClusterSpec) -> int:
    """NPUs of each pod: those of a machine."""
    return len(spec.hardware.devices)


def distributed(role: RoleSpec) -> bool:
    """Whether each data-parallel rank has a server of its own, as decode usually does."""
    given = role.args.get("distDPServerEnabled")
    return given if isinstance(given, bool) else role.name == DECODE and role.dp > 1


def sections(role: RoleSpec) -> dict[str, config.Section]:
    """Section → field → value of a role's server: what is usual, then what the file says."""
    found = copy.deepcopy(_COMMON)
    for name, values in (_DECODE if role.name == DECODE else _PREFILL).items():
        found[name] |= values
    config.lay_over(found, role.args)
    return found


def _deploy(spec: ClusterSpec, prefill: RoleSpec, decode: RoleSpec) -> dict[str, Any]:
    section, npus = spec.deployed, devices(spec)
    mounts = {one.source: one.path for one in section.mounts} if section else {}
    components = ("ms_controller", "ms_coordinator", "prefill_server", "decode_server")
    return {
        "p_instances_num": prefill.groups,
        "d_instances_num": decode.groups,
        "single_p_instance_pod_num": prefill.pods,
        "single_d_instance_pod_num": decode.pods,
        "p_pod_npu_num": npus,
        "d_pod_npu_num": npus,
        "p_instances_scale_num": 0,
        "d_instances_scale_num": 0,
        "model_id": "",
        "prefill_distribute_enable": int(distributed(prefill)),
        "decode_distribute_enable": int(distributed(decode)),
        "image_name": section.image if section else "",
        "job_id": section.kubectl.namespace if section else "",
        "hardware_type": HARDWARE.get(spec.hardware.family, ""),
        "mindie_env_path": f"./{ENVIRONMENTS.get(spec.hardware.family, '')}",
        "mindie_host_log_path": "",
        "mindie_container_log_path": LOGS,
        "weight_mount_path": spec.model,
        "coordinator_backup_cfg": {"function_enable": False},
        "controller_backup_cfg": {"function_sw": False},
        "deploy_mount_path": {f"{name}_mount": mounts for name in components},
        "tls_config": _without_tls(),
    }


def _without_tls() -> dict[str, Any]:
    items = {"ca_cert": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem", "tls_passwd": "key_pwd.txt"}
    found: dict[str, Any] = {"tls_enable": False}
    for part in PARTS:
        folder = f"./security/{part}"
        found[f"{part}_tls_enable"] = False
        paths = {name: f"{folder}/{file}" for name, file in items.items()}
        found[f"{part}_tls_items"] = {**paths, "tls_crl": ""}
    return found


def _coordinator(spec: ClusterSpec) -> dict[str, Any]:
    found = copy.deepcopy(COORDINATOR)
    for key, value in (spec.router.args if spec.router else {}).items():
        name = key.replace("-", "_")
        if isinstance(value, Mapping):
            found[name] = {**found.get(name, {}), **plain(value)}
    return found


def _server(spec: ClusterSpec, role: RoleSpec) -> dict[str, Any]:
    """One server's part. With a server for each rank it has that rank's devices, else a pod's."""
    found, sizes, apart = sections(role), parallel.sizes(role), distributed(role)
    local = role.tp if apart else sizes.local
    found["ServerConfig"]["distDPServerEnabled"] = apart
    several = role.pods > 1 and not apart
    own = {"npuDeviceIds": [list(range(local))], "multiNodesInferEnabled": several}
    model: dict[str, ArgValue] = {
        "modelName": spec.served_model_name,
        "modelWeightPath": spec.model,
        "worldSize": local,
        **{name: getattr(sizes, name) for name in ("dp", "cp", "tp", "sp", "pp", "moe_ep", "moe_tp")},
    }
    return {
        "ServerConfig": found["ServerConfig"],
        "BackendConfig": {
            **own,
            **found["BackendConfig"],
            "ModelDeployConfig": {
                **found["ModelDeployConfig"],
                "ModelConfig": [{**model, **found["ModelConfig"]}],
            },
            "ScheduleConfig": {"distributedEnable": apart, **found["ScheduleConfig"]},
        },
    }
