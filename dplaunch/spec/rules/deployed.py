"""Rules about an engine whose own program makes its pods, from a control node."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines.routers import KINDS
from dplaunch.spec.finding import Finding, counted
from dplaunch.spec.rules.rule import Case, Rule

OURS = frozenset({"image", "package", "namespace", "context", "kubeconfig", "kubectl", "mounts"})
"""Keys of the section that such an engine is given; all others are in its own files."""


def driver_deploys(case: Case) -> Iterator[Finding]:
    """It needs Kubernetes, and what it is installed from."""
    kind, section = case.file.engine.kind, case.file.kubernetes
    if not case.engine.deploys:
        if section is not None and section.package is not None:
            text = f"kubernetes.package has no effect with engine.kind {kind}"
            yield Finding(
                ("kubernetes", "package"), text, "remove it; its pods run kubernetes.image", at_key=True
            )
        return
    if case.file.driver != "kubernetes":
        hint = "add driver: kubernetes, and kubernetes: {image: IMAGE, package: PATH, namespace: NAME}"
        yield Finding(("engine", "kind"), f"{kind} runs on Kubernetes only", hint)
    elif section is not None and section.package is None:
        text = f"kubernetes.package is missing: {kind} deploys with the scripts in its package"
        hint = "add package: the .run file, or the folder with its scripts, on the control node"
        yield Finding(("kubernetes",), text, hint, at_key=True)


def section_fits(case: Case) -> Iterator[Finding]:
    """What the engine's program decides itself cannot be decided here."""
    section = case.file.kubernetes
    if section is None or not case.engine.deploys:
        return
    for key in sorted(section.model_fields_set - OURS):
        text = f"kubernetes.{key} has no effect: {case.file.engine.kind} makes its pods itself"
        hint = "remove it; the node of the file is where kubectl runs" if key == "host" else "remove it"
        yield Finding(("kubernetes", key), text, hint, at_key=True)
    for key in ("container", "image"):
        if getattr(case.file.runtime, key):
            text = f"runtime.{key} has no meaning on a control node"
            yield Finding(("runtime", key), text, "remove it", at_key=True)


def one_control_node(case: Case) -> Iterator[Finding]:
    """Every role is deployed from the same node, which runs no engine itself."""
    if not case.engine.deploys:
        return
    if len(case.spec.nodes) > 1:
        kind, nodes = case.file.engine.kind, counted(len(case.spec.nodes), "node")
        text = f"the file has {nodes}, and {kind} is deployed from one control node"
        yield Finding(("nodes",), text, "keep that one; pods of a role says how many pods a group has")
    elif case.file.nodes[0].devices:
        text = "the control node runs no engine, and its devices are not used"
        yield Finding(
            ("nodes", 0, "devices"), text, "remove it; hardware says what each pod has", at_key=True
        )


def pods_given(case: Case) -> Iterator[Finding]:
    """Elsewhere a group's nodes are its pods."""
    if case.engine.deploys:
        return
    for name, role in case.file.roles.given().items():
        if role.pods is not None:
            text = f"pods of {name} has no effect with engine.kind {case.file.engine.kind}"
            hint = "remove it; with driver: kubernetes each node of the role is a pod"
            yield Finding(("roles", name, "pods"), text, hint, at_key=True)


def router_belongs(case: Case) -> Iterator[Finding]:
    """What an engine deploys has an entrance of its own, and nobody else has that one."""
    kind, router = case.file.engine.kind, case.file.router
    deployed = router.kind in KINDS and KINDS[router.kind].deployed
    if case.engine.deploys and router.kind != kind:
        text = f"clients of {kind} go through its own coordinator"
        yield Finding(("router",), text, f"router: {{kind: {kind}, port: 31015}}")
    elif deployed and not case.engine.deploys:
        text = f"a router of kind {router.kind} is part of what that engine deploys"
        yield Finding(("router", "kind"), text, "router: {kind: dplaunch}")


RULES = (
    Rule(("engine.kind", "driver", "kubernetes.**"), driver_deploys),
    Rule(("engine.kind", "kubernetes.**", "runtime.*"), section_fits),
    Rule(("engine.kind", "nodes.**"), one_control_node),
    Rule(("engine.kind", "roles.*.pods"), pods_given),
    Rule(("engine.kind", "router.kind"), router_belongs),
)
