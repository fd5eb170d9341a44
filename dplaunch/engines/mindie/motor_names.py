"""What MindIE's deployment scripts call their objects, and what they need of a cluster.

Source: MindIE-Motor, management_service/example/deploy_scripts: deploy_ac_job.py, delete.sh, deployment;
MindCluster, installation of its scheduling components.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from dplaunch.engines.mindie import parallel, user_config
from dplaunch.model.cluster import DECODE, PREFILL, ClusterSpec, RoleSpec
from dplaunch.model.kubernetes import Deployment, KubernetesSpec, Named, Needs
from dplaunch.words import plural

FOLDER = "motor"
"""In the control node's folder."""
DEPLOY = "deploy"
"""The job that runs the scripts."""
MARKER = "dplaunch-deployment"
JOB_KIND = "ascendjobs.mindxdl.gitee.com"
RESOURCE = "huawei.com/Ascend910"
SERVICE = "mindie-ms-coordinator-infer"
SIDES = {PREFILL: "p", DECODE: "d"}
"""How the names of a role's objects begin: p0, d0."""
CONFIGMAPS = (
    *(
        "boot-bash-script",
        "common-env",
        "config-file-path",
        "global-ranktable",
        "mindie-http-client-ctl-config",
    ),
    *("mindie-ms-controller-config", "mindie-ms-coordinator-config", "mindie-ms-node-manager-config"),
    *("mindie-server-config", "python-file-utils", "python-script-gen-config-single-container"),
    *("python-script-get-group-id", "python-script-update-server-conf", "scaling-rule"),
    "server-prestop-bash-script",
)
"""Without a label; those of each instance come to it."""
KINDS = {
    JOB_KIND: "the Ascend Operator",
    "podgroups.scheduling.volcano.sh": "Volcano",
    "queues.scheduling.volcano.sh": "Volcano",
}
PROGRAMS = {
    "ascend-operator": "the Ascend Operator",
    "ascend-device-plugin": "the Ascend device plugin",
    "volcano-scheduler": "Volcano's scheduler",
    "volcano-controllers": "Volcano's controller",
    "clusterd": "ClusterD",
}
MACHINES = {
    "a2": {"accelerator": "huawei-Ascend910", "accelerator-type": "module-910b-8"},
    "a3": {"accelerator": "huawei-Ascend910", "accelerator-type": "module-a3-16"},
}


def section(spec: ClusterSpec) -> KubernetesSpec:
    """The section ``kubernetes``, which rules have asked for."""
    return spec.deployed or KubernetesSpec(image="")


def namespace(spec: ClusterSpec) -> str:
    """The namespace, which is also the scripts' job_id."""
    return section(spec).kubectl.namespace


def selector(spec: ClusterSpec) -> str:
    """Label of jobs, pods, services and rank tables."""
    return f"jobID={namespace(spec)}"


def coordinator(spec: ClusterSpec) -> str:
    """The job of the coordinator."""
    return f"{namespace(spec)}-coordinator"


def instance(role: str, number: int) -> str:
    """The job of an instance."""
    return f"mindie-server-{SIDES[role]}{number}"


def instances(spec: ClusterSpec) -> Iterator[tuple[RoleSpec, int, str]]:
    """Role, number and job of each instance."""
    for role in spec.roles:
        for number in range(role.groups):
            yield role, number, instance(role.name, number)


def digest(spec: ClusterSpec) -> str:
    """Of all that the scripts are given."""
    found = section(spec)
    env = [(role.name, sorted(role.env.items())) for role in spec.roles]
    port = spec.router.port if spec.router else 0
    parts = (user_config.write(spec), env, found.package, port)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def deployment(spec: ClusterSpec) -> Deployment:
    """What the scripts make and need."""
    found, family = section(spec), spec.hardware.family
    names = [name for _, _, name in instances(spec)]
    jobs = (f"{namespace(spec)}-controller", coordinator(spec), *names)
    pods = sum(role.groups * role.pods for role in spec.roles)
    return Deployment(
        node=spec.nodes[0].name,
        process=DEPLOY,
        kubectl=found.kubectl,
        cluster=spec.name,
        digest=digest(spec),
        marker=MARKER,
        selector=selector(spec),
        objects=(*(Named(JOB_KIND, name) for name in jobs), Named("service", SERVICE)),
        shapes={role.name: _shape(spec, role) for role in spec.roles},
        further=(
            *(Named("configmap", name) for name in CONFIGMAPS),
            *(Named("configmap", f"{name}-config") for name in names),
            *(Named("priorityclass", name) for name in _priorities(spec)),
        ),
        kinds=f"{JOB_KIND},pods,services,configmaps",
        package=found.package or "",
        needs=Needs(
            kinds=KINDS,
            programs=PROGRAMS,
            image=found.image,
            resource=RESOURCE,
            pods=(user_config.devices(spec),) * pods,
            labels=MACHINES.get(family, {}),
            modules=("ruamel.yaml", "yaml"),
        ),
    )


def _shape(spec: ClusterSpec, role: RoleSpec) -> str:
    sizes = parallel.sizes(role)
    split = ", ".join(
        f"{name} {getattr(sizes, name)}" for name in ("dp", "tp", "pp", "cp") if getattr(sizes, name) > 1
    )
    experts = f"experts {sizes.moe_ep} × {sizes.moe_tp}"
    return f"{plural(role.pods, 'pod')} × {user_config.devices(spec)} devices ({split or 'dp 1'}, {experts})"


def _priorities(spec: ClusterSpec) -> Iterator[str]:
    """PriorityClasses belong to no namespace: decode's instances go before those of prefill."""
    for role, number, _ in instances(spec):
        rank = "high" if role.name == DECODE else "low"
        yield f"{namespace(spec)}-{rank}-priority-{SIDES[role.name]}{number}"
