"""What ``check`` asks of Kubernetes itself: kubectl, API server, rights, kinds, machines with devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.errors import DplaunchError
from dplaunch.fleet.kubernetes.kubectl import LEADERS, Client, parse
from dplaunch.model.check import Finding, Level
from dplaunch.model.kubernetes import KubernetesPlan
from dplaunch.ranges import fold

NAME = "kubernetes"
_RIGHTS = (
    ("create", "statefulsets.apps"),
    ("delete", "statefulsets.apps"),
    ("create", "services"),
    ("delete", "pods"),
    ("create", "pods/exec"),
)
"""What every verb together needs: verb and resource, as ``kubectl auth can-i`` takes them."""


def examine(client: Client, objects: KubernetesPlan) -> Iterator[Finding]:
    """Each answer as a finding; where the API server does not answer that is the only one."""
    try:
        version = parse(client.need(("version", "-o", "json"))).get("serverVersion", {})
    except DplaunchError as error:
        yield Finding(probe=NAME, level=Level.FAIL, text=error.text, remedy=error.hint)
        return
    yield _good(f"API server {version.get('gitVersion', '?')} answers")
    led = any(one.kind == "LeaderWorkerSet" for one in objects.manifests)
    rights = (*_RIGHTS, ("create", LEADERS)) if led else _RIGHTS
    lacking = [f"{verb} {what}" for verb, what in rights if client.call(("auth", "can-i", verb, what)).code]
    if lacking:
        remedy = "ask for a Role with these rights in that namespace"
        yield _bad(f"you may not {', '.join(lacking)} in {client.kubectl.namespace}", remedy)
    else:
        yield _good(f"all rights in namespace {client.kubectl.namespace}")
    if led and client.call(("get", "crd", LEADERS)).code:
        yield _bad(
            "LeaderWorkerSet is not installed",
            "install its operator, or use kubernetes.workload: statefulset",
        )
    yield from _judge_machines(client, objects)


def _judge_machines(client: Client, objects: KubernetesPlan) -> Iterator[Finding]:
    """Whether enough machines have the devices that the largest pods ask for."""
    ran = client.call(("get", "nodes", "-o", "json"))
    if ran.code:
        text = "machines cannot be listed, so their devices were not counted"
        yield Finding(probe=NAME, level=Level.WARN, text=text, remedy="ask for the right to list nodes")
        return
    found = [one for one in parse(ran.out).get("items", ()) if _is_ready(one)]
    has = {one["metadata"]["name"]: _count(one, objects.resource) for one in found}
    wanted = sorted(objects.devices.values(), reverse=True)
    free = sorted(has.values(), reverse=True)
    largest = wanted[0] if wanted else 0
    if not largest:
        yield _good(f"{len(found)} machines are ready")
    elif free and free[0] >= largest and sum(free) >= sum(wanted):
        enough = fold(name for name, count in has.items() if count >= largest)
        yield _good(f"{sum(free)} {objects.resource} for {sum(wanted)}; {enough} can take a pod of {largest}")
    else:
        most = f"at most {free[0]} on one machine and {sum(free)} in all" if free else "no machine is ready"
        look = f"`{client.shown} describe nodes` lists what they have"
        yield _bad(
            f"pods ask for {sum(wanted)} {objects.resource}, up to {largest} each; there are {most}",
            f"correct kubernetes.resource or hardware.devices; {look}",
        )


def _is_ready(machine: Mapping[str, Any]) -> bool:
    """It reports that it is, and takes new pods."""
    conditions = machine.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not machine.get("spec", {}).get("unschedulable")


def _count(machine: Mapping[str, Any], resource: str) -> int:
    given = str(machine.get("status", {}).get("allocatable", {}).get(resource, "0"))
    return int(given) if given.isdigit() else 0


def _good(text: str) -> Finding:
    return Finding(probe=NAME, level=Level.OK, text=text)


def _bad(text: str, remedy: str) -> Finding:
    return Finding(probe=NAME, level=Level.FAIL, text=text, remedy=remedy)
