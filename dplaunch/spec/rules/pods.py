"""Rules about nodes that are pods."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.spec.finding import Finding
from dplaunch.spec.kubernetes import DNS_LABEL
from dplaunch.spec.rules.rule import Case, Rule

DRIVER = "kubernetes"
LONGEST = 40
"""Characters of a cluster's name: those of its pods have the role and two numbers after it."""


def driver_and_section(case: Case) -> Iterator[Finding]:
    """The driver and its section come together."""
    wanted, given = case.file.driver == DRIVER, case.file.kubernetes is not None
    if wanted and not given:
        hint = "add kubernetes: {image: IMAGE}; `dplaunch explain kubernetes` lists its keys"
        yield Finding(("driver",), "driver: kubernetes needs the section kubernetes", hint)
    elif given and not wanted:
        text = "the section kubernetes has no effect with driver: machines"
        yield Finding(("kubernetes",), text, "add driver: kubernetes, or remove the section", at_key=True)


def names_of_objects(case: Case) -> Iterator[Finding]:
    """Objects and pods are called after the cluster."""
    name = case.file.cluster
    if case.spec.kubernetes is None:
        return
    if not DNS_LABEL.fullmatch(name) or name[0].isdigit() or len(name) > LONGEST:
        text = f"'{name}' cannot be the name of objects of Kubernetes"
        hint = f"begin with a letter; lower-case letters, digits and dashes, {LONGEST} characters at most"
        yield Finding(("cluster",), text, hint)


def pods_have_no_login(case: Case) -> Iterator[Finding]:
    """Kubernetes decides on which machine a pod runs, and a pod is entered through kubectl."""
    if case.spec.kubernetes is None:
        return
    for index, entry in enumerate(case.file.nodes):
        for key in ("host", "ssh"):
            if key in entry.model_fields_set:
                text = f"{key} has no meaning for a node that is a pod"
                hint = "remove it; kubernetes.host is where kubectl runs, node_selector chooses machines"
                yield Finding(("nodes", index, key), text, hint, at_key=True)
    for key in ("container", "image"):
        if not getattr(case.file.runtime, key):
            continue
        text = f"runtime.{key} has no meaning where nodes are pods"
        yield Finding(("runtime", key), text, "remove it; kubernetes.image is what the pods run", at_key=True)


RULES = (
    Rule(("driver", "kubernetes"), driver_and_section),
    Rule(("cluster", "driver", "kubernetes.**"), names_of_objects),
    Rule(("driver", "kubernetes.**", "nodes.*.host", "runtime.*"), pods_have_no_login),
)
