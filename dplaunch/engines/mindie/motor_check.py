"""What MindIE's deployment scripts, controller and servers refuse, found before anything is deployed.

Source: MindIE-Motor, management_service/example/deploy_scripts: utils/validate_config.py, deploy_ac_job.py;
MindIE-LLM, atb_llm/utils/mapping.py and src/config_manager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from dplaunch.engines.mindie import config, parallel, user_config
from dplaunch.engines.mindie.user_config import devices, distributed
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, PREFILL, ClusterSpec, RoleSpec, SecretRef

MOST_INSTANCES = 20
MOST_PODS = {PREFILL: 8, DECODE: 20}
MOST_DEVICES = 16
NODE_PORTS = range(30000, 32768)
"""From which a cluster gives ports of machines to Services, unless its API server was told otherwise."""
SOURCE = "MindIE-Motor, deploy_scripts/utils/validate_config.py"
_PATH = re.compile(r"[0-9A-Za-z_./-]+")


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """All of it."""
    yield from _check_whole(spec)
    if not spec.disaggregated:
        return
    yield from _check_entrance(spec)
    yield from config.check_names(spec)
    for role in spec.roles:
        yield from _check_numbers(spec, role)
        yield from _check_ranks(spec, role)
        yield from _check_values(role)
        yield from _check_env(role)
    if all(_world(spec, role) == parallel.sizes(role).world for role in spec.roles):
        yield from parallel.check(spec)


def _check_whole(spec: ClusterSpec) -> Iterator[Problem]:
    if not spec.disaggregated:
        text = "MindIE's scripts deploy prefill and decode"
        yield Problem(text, key="roles", hint="use the roles prefill and decode, or engine.kind mindie")
    if spec.hardware.family not in user_config.HARDWARE:
        text = f"MindIE's scripts know hardware of the families {' and '.join(user_config.HARDWARE)}"
        yield Problem(text, key="hardware", hint="hardware: atlas-800i-a2", source=SOURCE)
    if not PurePosixPath(spec.model).is_absolute() or not _PATH.fullmatch(spec.model):
        text = f"model {spec.model} is not an absolute path of letters, digits, _, ., / and -"
        yield Problem(
            text, key="model", hint="the folder of the weights, the same on every machine", source=SOURCE
        )
    if spec.kv_transfer is not None:
        text = "kv_transfer has no effect: MindIE moves KV itself"
        yield Problem(text, key="kv_transfer", hint="remove it; kv_link_timeout and others go to args")
    if spec.api_key is not None:
        text = "MindIE's coordinator asks clients for no API key"
        yield Problem(text, key="api_key", hint="remove it, and let a gateway in front of it ask")
    for name in spec.overrides:
        text = "all pods of a role have the same settings"
        yield Problem(text, key=f"overrides.{name}", hint="set it in the role")


def _check_entrance(spec: ClusterSpec) -> Iterator[Problem]:
    section = spec.deployed
    if spec.router is not None and spec.router.port not in NODE_PORTS:
        text = f"router.port {spec.router.port} cannot be a port that every machine has for a Service"
        yield Problem(text, key="router.port", hint="port: 31015, or another from 30000 to 32767")
    for one in section.mounts if section else ():
        if one.claim or one.read_only:
            text = f"the mount {one.path} is a folder of the machines, and writable, in the scripts' pods"
            yield Problem(text, key=f"kubernetes.mounts.{one.path}", hint=f"{one.path}: PATH OF THE MACHINE")
    known = user_config.COORDINATOR
    for key, value in (spec.router.args if spec.router else {}).items():
        if key.replace("-", "_") not in known or not hasattr(value, "items"):
            text = f"'{key}' is not a section of the coordinator's configuration"
            hint = f"use a map below one of {', '.join(known)}"
            yield Problem(text, key=f"router.args.{key}", hint=hint)


def _check_numbers(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    if role.groups > MOST_INSTANCES:
        text = f"{role.name} has {role.groups} groups, and MindIE's scripts take {MOST_INSTANCES} at most"
        yield _problem(role, "groups", text, f"groups: {MOST_INSTANCES}")
    most = MOST_PODS.get(role.name, 1)
    if role.pods > most:
        text = f"an instance of {role.name} has {role.pods} pods, and MindIE's scripts take {most} at most"
        yield _problem(role, "pods", text, f"pods: {most}, with more groups")
    if role.name == PREFILL and devices(spec) > MOST_DEVICES:
        text = f"a pod has {devices(spec)} devices, and MindIE's scripts take {MOST_DEVICES} at most"
        yield Problem(text, key="hardware", hint=f"devices: {MOST_DEVICES}", source=SOURCE)


def _world(spec: ClusterSpec, role: RoleSpec) -> int:
    return role.pods * devices(spec)


def _check_ranks(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    found, world = parallel.sizes(role), _world(spec, role)
    if found.world != world:
        product = " × ".join(
            f"{n} {v}" for n, v in (("dp", found.dp), ("tp", found.tp), ("pp", found.pp)) if v > 1
        )
        text = (
            f"{product or 'dp 1'} of {role.name} is {found.world}, and an instance of {role.pods} pods with "
            f"{devices(spec)} devices each has {world}"
        )
        yield _problem(role, "dp", text, f"make dp × tp {world}, or change pods")
    elif distributed(role) and role.tp > devices(spec):
        text = f"each rank of {role.name} has a server in a pod, and tp {role.tp} is more than its devices"
        yield _problem(role, "tp", text, f"tp: {devices(spec)}, or distDPServerEnabled: false")
    elif distributed(role) and role.dp == 1:
        text = f"distDPServerEnabled of {role.name} gives each rank a server, and there is only one rank"
        yield _problem(role, "args.distDPServerEnabled", text, "distDPServerEnabled: false")


def _check_values(role: RoleSpec) -> Iterator[Problem]:
    """Of prefill the scripts replace maxIterTimes by decode's; what they do not write MindIE ships."""
    sections = {name: dict(values) for name, values in config.SHIPPED.items()}
    for name, values in user_config.sections(role).items():
        sections[name] |= values
    yield from config.check_values(role, sections)


def _check_env(role: RoleSpec) -> Iterator[Problem]:
    for name, value in role.env.items():
        if isinstance(value, SecretRef) or "$" in value:
            what = "a secret" if isinstance(value, SecretRef) else "a value of the node"
            text = f"{name} of {role.name} is {what}, and MindIE's scripts write plain text into a ConfigMap"
            yield _problem(role, f"env.{name}", text, "write the value itself, or leave it out")


def _problem(role: RoleSpec, key: str, text: str, hint: str) -> Problem:
    return Problem(text, key=f"roles.{role.name}.{key}", hint=hint, source=SOURCE)
