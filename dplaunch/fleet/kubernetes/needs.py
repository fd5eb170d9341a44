"""What ``check`` asks of a cluster where an engine's own program makes the pods, and of the control node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from dplaunch.errors import DplaunchError
from dplaunch.fleet.kubernetes.kubectl import Caller, parse
from dplaunch.model.check import Finding, Level
from dplaunch.model.kubernetes import Deployment
from dplaunch.ranges import fold, grouped
from dplaunch.transport import Ran
from dplaunch.words import plural

NAME = "kubernetes"
RIGHTS = ("configmaps", "services", "pods")
"""What must be made and deleted in the namespace, beside the jobs."""
_MACHINES = (
    '{range .items[*]}{.metadata.name}{" "}'
    '{.status.conditions[?(@.type=="Ready")].status}{" "}'
    '{.spec.unschedulable}{"/"}{.status.allocatable.RESOURCE}{" "}'
    '{.status.images[*].names}{"\\n"}{end}'
)
_PODS = '{range .items[*]}{.metadata.namespace}{" "}{.metadata.name}{" "}{.status.phase}{"\\n"}{end}'


class Machine(Struct, frozen=True):
    """A machine that may be chosen. ``count``: the devices that pods can have there."""

    name: str
    count: int
    images: str


def judge_package(run: Callable[[Sequence[str]], Ran], deployment: Deployment) -> Iterator[Finding]:
    """Whether the control node has the package, and the modules of Python that its program needs.

    ``run``: a command there.
    """
    node, package = deployment.node, deployment.package
    if run(("test", "-r", package)).code:
        remedy = "copy it there, or correct kubernetes.package"
        yield _bad(f"the package {package} is not on {node}, or cannot be read", remedy)
    else:
        yield _good(f"the package {package} is on {node}")
    modules = deployment.needs.modules
    imported = run(("python3", "-c", f"import {', '.join(modules)}"))
    if imported.code:
        last = (imported.err.strip().splitlines() or ["it does not start"])[-1]
        remedy = f"install {' and '.join(modules)} for the python3 of {node}"
        yield _bad(f"python3 on {node} lacks what the package's scripts need: {last}", remedy)


def examine(client: Caller, deployment: Deployment) -> Iterator[Finding]:
    """Each answer as a finding; where the API server does not answer that is the only one."""
    try:
        version = parse(client.need(("version", "-o", "json"))).get("serverVersion", {})
        yield _good(f"API server {version.get('gitVersion', '?')} answers")
        yield from _judge_namespace(client, deployment)
        yield from _judge_kinds(client, deployment)
        yield from _judge_programs(client, deployment)
        yield from _judge_machines(client, deployment)
    except DplaunchError as error:
        yield Finding(probe=NAME, level=Level.FAIL, text=error.text, remedy=error.hint)


def _judge_namespace(client: Caller, deployment: Deployment) -> Iterator[Finding]:
    name = deployment.kubectl.namespace
    if not client.need(("get", "namespace", name, "--ignore-not-found", "-o", "name")).strip():
        yield _bad(f"there is no namespace {name}", f"`{client.kubectl.program} create namespace {name}`")
        return
    jobs = deployment.objects[0].kind
    wanted = [(verb, what) for what in (jobs, *RIGHTS) for verb in ("create", "delete")]
    wanted += [("get", "pods/log")]
    lacking = [f"{verb} {what}" for verb, what in wanted if client.call(("auth", "can-i", verb, what)).code]
    if lacking:
        yield _bad(f"you may not {', '.join(lacking)} in {name}", "ask for a Role with these rights there")
    else:
        yield _good(f"all rights in namespace {name}")


def _judge_kinds(client: Caller, deployment: Deployment) -> Iterator[Finding]:
    needs = deployment.needs
    lacking = [kind for kind in needs.kinds if client.call(("get", "crd", kind, "-o", "name")).code]
    for whose, kinds in grouped((needs.kinds[kind], kind) for kind in lacking).items():
        yield _bad(
            f"{whose} is not installed: the cluster has no {' and no '.join(kinds)}", f"install {whose}"
        )


def _judge_programs(client: Caller, deployment: Deployment) -> Iterator[Finding]:
    ran = client.call(("get", "pods", "-A", "-o", f"jsonpath={_PODS}"))
    if ran.code:
        text = "pods of other namespaces cannot be listed, so it is not known whether the components run"
        yield Finding(probe=NAME, level=Level.WARN, text=text, remedy="ask for the right to list all pods")
        return
    rows = [line.split() for line in ran.out.splitlines()]
    phases = [(row[1], row[2]) for row in rows if len(row) == len(("namespace", "name", "phase"))]
    for prefix, what in deployment.needs.programs.items():
        mine = [(name, phase) for name, phase in phases if name.startswith(prefix)]
        wrong = [f"{name} is {phase}" for name, phase in mine if phase != "Running"]
        if not mine:
            yield _bad(
                f"{what} does not run: no pod is called {prefix}…", f"install {what}, or see why it is gone"
            )
        elif wrong:
            look = f"`{client.kubectl.program} get pods -A` shows them"
            yield _bad(f"{what} does not run everywhere: {', '.join(wrong[:3])}", look)
        else:
            yield _good(f"{what} runs: {plural(len(mine), 'pod')}")


def _judge_machines(client: Caller, deployment: Deployment) -> Iterator[Finding]:
    """Whether as many machines as pods have the devices, labels and image that these ask for."""
    needs = deployment.needs
    labels = ",".join(f"{key}={value}" for key, value in needs.labels.items())
    form = _MACHINES.replace("RESOURCE", needs.resource.replace(".", "\\."))
    ran = client.call(("get", "nodes", *(("-l", labels) if labels else ()), "-o", f"jsonpath={form}"))
    if ran.code:
        text = "machines cannot be listed, so their devices were not counted"
        yield Finding(probe=NAME, level=Level.WARN, text=text, remedy="ask for the right to list nodes")
        return
    machines = [one for line in ran.out.splitlines() if (one := _machine(line)) is not None]
    each = max(needs.pods, default=0)
    able = [one for one in machines if one.count >= each]
    asked = f"{plural(len(needs.pods), 'pod')} ask for {each} {needs.resource} each"
    if len(able) < len(needs.pods):
        having = (
            f"{len(machines)} machines with {labels or 'any label'} are ready, and {len(able)} have so many"
        )
        yield _bad(
            f"{asked}; {having}", f"`{client.kubectl.program} describe nodes` shows labels and devices"
        )
    else:
        yield _good(f"{asked}; {len(able)} machines can take one")
    image = re.compile(
        rf"(?<![\w.-]){re.escape(needs.image)}(?![\w.-])"
    )  # with its registry before it, or not
    without = [one.name for one in able if not image.search(one.images)]
    if without:
        text = f"image {needs.image} is not known to be on {fold(without)}"
        remedy = "load it there, or a pod starts only when it has been pulled"
        yield Finding(probe=NAME, level=Level.WARN, text=text, remedy=remedy)
    elif able:
        yield _good(f"image {needs.image} is on all of them")


def _machine(line: str) -> Machine | None:
    """One line of ``_MACHINES``; None for a machine that is not ready, or takes no pods."""
    name, ready, rest, *images = (*line.split(" ", 3), "", "", "")
    kept, _, count = rest.partition("/")
    if ready != "True" or kept == "true":
        return None
    return Machine(name, int(count) if count.isdigit() else 0, images[0])


def _good(text: str) -> Finding:
    return Finding(probe=NAME, level=Level.OK, text=text)


def _bad(text: str, remedy: str) -> Finding:
    return Finding(probe=NAME, level=Level.FAIL, text=text, remedy=remedy)
