"""The service's config.json: what follows from the cluster file, over values that MindIE ships.

Fields of ``args`` stand by their names, whatever their section; a section's own name takes a map that is laid
over it. Source: MindIE-LLM, src/server/conf/config.json and src/config_manager/*.cpp;
docs/zh/user_guide/user_manual/service_parameter_configuration.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.engines import rules
from dplaunch.engines.adapter import Site
from dplaunch.engines.flags import plain
from dplaunch.engines.mindie import parallel, shared
from dplaunch.engines.settings import user_args
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, RoleSpec
from dplaunch.nearest import did_you_mean

Section = dict[str, Any]

SHIPPED: dict[str, Section] = {
    "ServerConfig": {
        "allowAllZeroIpListening": False,
        "maxLinkNum": 1000,
        "httpsEnabled": False,
        "fullTextEnabled": False,
        "inferMode": "standard",
        "interCommTLSEnabled": False,
        "openAiSupport": "vllm",
        "tokenTimeout": 600,
        "e2eTimeout": 600,
        "distDPServerEnabled": False,
    },
    "BackendConfig": {
        "backendName": "mindieservice_llm_engine",
        "modelInstanceNumber": 1,
        "tokenizerProcessNumber": 8,
        "interNodeTLSEnabled": False,
    },
    "ModelDeployConfig": {"maxSeqLen": 2560, "maxInputTokenLen": 2048, "truncation": 0},
    "ModelConfig": {
        "modelInstanceType": "Standard",
        "cpuMemSize": 0,
        "npuMemSize": -1,
        "backendType": "atb",
        "trustRemoteCode": False,
    },
    "ScheduleConfig": {
        "templateType": "Standard",
        "templateName": "Standard_LLM",
        "cacheBlockSize": 128,
        "maxPrefillBatchSize": 50,
        "maxPrefillTokens": 8192,
        "prefillTimeMsPerReq": 150,
        "prefillPolicyType": 0,
        "decodeTimeMsPerReq": 50,
        "decodePolicyType": 0,
        "maxBatchSize": 200,
        "maxIterTimes": 512,
        "maxPreemptCount": 0,
        "supportSelectBatch": False,
        "maxQueueDelayMicroseconds": 5000,
    },
}
"""Section → field → value. TLS is off: its certificates are the site's."""

FURTHER = {
    "ModelConfig": (
        *("kv_trans_timeout", "kv_link_timeout", "async_scheduler_wait_time", "plugin_params", "models"),
        *("ignore_eos", "enable_warmup_with_sampling", "modelCutPolicy"),
    ),
    "BackendConfig": ("kvPoolConfig",),
    "ScheduleConfig": (
        *("maxFirstTokenWaitTime", "stageSelectPolicy", "bufferResponseEnabled"),
        *("distributedEnable", "dpScheduling"),
    ),
}
"""Fields that MindIE knows and that are written only where the cluster file has them."""

COMPUTED = {
    **dict.fromkeys(("ipAddress", "managementIpAddress"), "the node's address"),
    **dict.fromkeys(("port", "managementPort", "metricsPort"), "ports.http"),
    "interCommPort": "ports.inter_comm",
    "multiNodesInferPort": "ports.multi_node",
    **dict.fromkeys(("npuDeviceIds", "worldSize"), "devices of the nodes"),
    "multiNodesInferEnabled": "nodes of the role",
    "modelName": "served_model_name",
    "modelWeightPath": "model",
    **dict.fromkeys(("dp", "tp", "pp"), "the size of the role"),
    "cp": "pcp of the role",
}
"""Fields that the cluster file decides elsewhere, and where."""

_KINDS: dict[type, str] = {bool: "true or false", int: "a number", str: "a text"}
LIMITS = {
    "tokenTimeout": (1, 3600),
    "e2eTimeout": (1, 65535),
    "maxLinkNum": (1, 4096),
    "tokenizerProcessNumber": (1, 32),
    "maxPrefillBatchSize": (1, 5000),
    "maxBatchSize": (1, 5000),
}


def write(site: Site) -> str:
    """The text of config.json for a role on a node."""
    sections = _computed(site)
    lay_over(sections, user_args(site, site.seats[0]))
    deploy = {**sections["ModelDeployConfig"], "ModelConfig": [sections["ModelConfig"]]}
    backend = {
        **sections["BackendConfig"],
        "ModelDeployConfig": deploy,
        "ScheduleConfig": sections["ScheduleConfig"],
    }
    whole = {"Version": "1.0.0", "ServerConfig": sections["ServerConfig"], "BackendConfig": backend}
    return json.dumps(whole, indent=4, ensure_ascii=False) + "\n"


def _computed(site: Site) -> dict[str, Section]:
    spec, role, seat = site.spec, site.role, site.seats[0]
    sizes, address = parallel.sizes(role), site.node.address
    sections = {name: dict(values) for name, values in SHIPPED.items()}
    ports = dict.fromkeys(("port", "managementPort", "metricsPort"), seat.port("http") or http_port(site))
    sections["ServerConfig"] |= {"ipAddress": address, "managementIpAddress": address, **ports}
    sections["ServerConfig"] |= {"interCommPort": seat.port("inter_comm")}
    sections["BackendConfig"] |= {
        "npuDeviceIds": [shared.group_devices(site, seat)],
        "multiNodesInferEnabled": shared.spans(role),
        "multiNodesInferPort": seat.port("multi_node"),
    }
    sections["ModelConfig"] |= {
        "modelName": spec.served_model_name,
        "modelWeightPath": spec.model,
        "worldSize": sizes.local if shared.spans(role) else sizes.world,
        **sizes.chosen,
    }
    return sections


def http_port(site: Site) -> int:
    """What a node without the group's server has in its place: it listens there on nothing."""
    return site.role.ports.get("http", site.facts.ports["http"])


def lay_over(sections: dict[str, Section], args: Mapping[str, ArgValue]) -> None:
    """Put the fields and sections that ``args`` gives into their places."""
    by_field = _fields()
    for key, value in args.items():
        name = key.partition(".")[0]
        if name in sections and isinstance(value, Mapping):
            sections[name] |= plain(value)
        elif name in by_field and name not in parallel.SIZES:
            section, field = by_field[name]
            sections[section][field] = plain(value)


def _fields() -> dict[str, tuple[str, str]]:
    """Field as a key of ``args`` → its section, and its name there."""
    known = {name: (*values, *FURTHER.get(name, ())) for name, values in SHIPPED.items()}
    return {field.replace("_", "-"): (name, field) for name, fields in known.items() for field in fields}


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Fields that MindIE does not know, that are computed, or whose values it refuses."""
    yield from check_names(spec)
    for role in spec.roles:
        sections = {name: dict(values) for name, values in SHIPPED.items()}
        lay_over(sections, role.args)
        yield from check_values(role, sections)


def check_names(spec: ClusterSpec) -> Iterator[Problem]:
    """Fields that MindIE does not know, or that are computed."""
    known = _fields().keys() | parallel.SIZES.keys() | SHIPPED.keys()
    for place, args in rules.arguments(spec):
        for key in args:
            name = key.replace("-", "_")
            if name in COMPUTED or key in COMPUTED:
                text = f"'{name}' is computed by dplaunch"
                hint = f"set {COMPUTED.get(name, '')} instead"
                yield Problem(text, key=f"{place}.{key}", hint=hint, at_key=True)
            elif key not in known:
                text = f"config.json has no field {name} that dplaunch knows"
                otherwise = "a field of your version goes under its section: ModelConfig: {field: value}"
                hint = did_you_mean(name, (one.replace("-", "_") for one in known), otherwise)
                yield Problem(text, key=f"{place}.{key}", hint=hint, at_key=True)


def check_values(role: RoleSpec, sections: Mapping[str, Section]) -> Iterator[Problem]:
    """Values that MindIE refuses, or that contradict each other; ``sections``: all that the role has."""
    values = {name: value for section in sections.values() for name, value in section.items()}
    wrong = list(_check_kinds(role, values))
    if wrong:
        yield from wrong
        return
    for name, (least, most) in LIMITS.items():
        if not least <= values[name] <= most:
            yield _problem(role, name, f"{name} takes a number from {least} to {most}", str(most))
            return
    for low, high in (
        ("maxInputTokenLen", "maxSeqLen"),
        ("maxInputTokenLen", "maxPrefillTokens"),
        ("maxPrefillBatchSize", "maxBatchSize"),
        ("maxIterTimes", "maxSeqLen"),
    ):
        if values[low] > values[high]:
            given = low if low in role.args else high
            text = f"{low} {values[low]} of {role.name} is above {high} {values[high]}, which MindIE refuses"
            yield _problem(role, given, text, f"lower {low}, or raise {high}")
    if values["maxPreemptCount"] and not values["cpuMemSize"]:
        text = f"maxPreemptCount of {role.name} needs cpuMemSize above 0, to which requests are swapped"
        yield _problem(role, "maxPreemptCount", text, "cpuMemSize: 5")


def _check_kinds(role: RoleSpec, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Fields whose values are not of the kind that MindIE ships them with."""
    for name in SHIPPED.keys() & role.args.keys():
        if not isinstance(role.args[name], Mapping):
            text = f"{name} of {role.name} is a section of config.json"
            yield _problem(role, name, text, f"{name}: {{field: value}}")
    for section in SHIPPED.values():
        for name, default in section.items():
            if not isinstance(values[name], type(default)):
                text = f"{name} of {role.name} takes {_KINDS[type(default)]}, not {values[name]!r}"
                yield _problem(role, name, text, f"MindIE ships {json.dumps(default)}")


def _problem(role: RoleSpec, name: str, text: str, hint: str) -> Problem:
    key = f"roles.{role.name}.args.{name}"
    return Problem(text, key=key, hint=hint, source="MindIE-LLM, src/config_manager")
