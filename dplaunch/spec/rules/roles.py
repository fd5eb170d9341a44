"""Rules about one role: its nodes exist, its ranks divide, its sizes agree, its masters belong to it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from dplaunch.model.cluster import RoleSpec
from dplaunch.nearest import did_you_mean
from dplaunch.ranges import fold
from dplaunch.spec.finding import Finding, counted
from dplaunch.spec.rules.rule import Case, RoleRule


def nodes_exist(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """A role sits on nodes of this file, on each once."""
    path = ("roles", role.name, "nodes")
    known = [node.name for node in case.spec.nodes]
    for name in dict.fromkeys(role.nodes):
        if name not in known:
            hint = did_you_mean(name, known, f"nodes are: {fold(known)}")
            yield Finding(path, f"{role.name} names {name}, which is not a node of this file", hint)
        elif role.nodes.count(name) > 1:
            yield Finding(path, f"{role.name} names {name} twice", "name each node once")


MOST_ENGINES = 16_384
"""Ranks of one role: more are a slip of the finger."""


def ranks_bounded(_: Case, role: RoleSpec) -> Iterator[Finding]:
    """Every rank has a process with ports of its own."""
    ranks = role.groups * role.dp
    if ranks > MOST_ENGINES:
        yield Finding(
            ("roles", role.name, "dp" if role.dp >= role.groups else "groups"),
            f"{role.name} would have groups × dp = {role.groups} × {role.dp} = {ranks} ranks, "
            f"and at most {MOST_ENGINES} can be started",
            "correct dp or groups",
        )


def groups_divide(_: Case, role: RoleSpec) -> Iterator[Finding]:
    """Nodes are dealt to groups evenly, or groups to nodes."""
    nodes, groups = len(role.nodes), role.groups
    if nodes % groups and groups % nodes:
        yield Finding(
            ("roles", role.name, "groups"),
            f"{counted(groups, 'group')} of {role.name} cannot be dealt evenly to {counted(nodes, 'node')}",
            f"make groups a divisor or a multiple of {nodes}",
        )


def dp_divides(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """Each node of a group takes the same number of ranks, or an engine is spread over its nodes."""
    share = len(role.nodes) // role.groups
    if not share or not role.dp % share or (role.nodes_per_rank > 1 and case.engine.spans_nodes):
        return
    yield Finding(
        ("roles", role.name, "dp"),
        f"{role.name} has dp {role.dp}, which cannot be split evenly over the {share} nodes of a group",
        f"use a multiple of {share} for dp, or change groups",
    )


def parts_divide(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """An engine that is spread over nodes is one group, with as many devices on each of them."""
    nodes = role.nodes_per_rank
    if nodes == 1 or not case.engine.spans_nodes:
        return
    if role.dp > 1:
        text = f"{role.name} has {role.dp} ranks in each group, and each would be spread over {nodes} nodes"
        hint = f"dp: 1 with groups: {role.groups * role.dp}, or fewer nodes"
        yield Finding(("roles", role.name, "dp"), text, hint)
    elif role.devices_per_rank % nodes:
        text = (
            f"one engine of {role.name} would be spread over {nodes} nodes, and its tp × pp × pcp = "
            f"{role.devices_per_rank} cannot be split evenly over them"
        )
        hint = f"dp: {nodes} for a rank on each node, or groups: {len(role.nodes)} for an engine on each"
        yield Finding(("roles", role.name, "dp"), text, hint)


def lb_known(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """An engine balances over its ranks only in the ways that it knows."""
    if role.lb not in case.engine.lb:
        known = " or ".join(case.engine.lb)
        text = f"lb {role.lb} of {role.name} is not possible with engine.kind {case.file.engine.kind}"
        yield Finding(("roles", role.name, "lb"), text, f"use {known}, or another engine")


def ep_agrees(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """Expert-parallel size is what data and tensor parallelism make it."""
    ep = case.file.roles.given()[role.name].ep
    sizes = {"dp": role.dp, "pcp": role.pcp, "tp": role.tp}
    counted_in = {name: number for name, number in sizes.items() if number > 1 or name != "pcp"}
    size = prod(counted_in.values())
    if not isinstance(ep, bool) and ep != size:
        product = f"{' × '.join(counted_in)} = {' × '.join(map(str, counted_in.values()))} = {size}"
        yield Finding(
            ("roles", role.name, "ep"),
            f"ep {ep} of {role.name} is not {product}",
            f"write ep: {size}, or ep: true to derive it",
        )


def dbo_known(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """Only an engine that knows dual-batch overlap can be given it."""
    if role.dbo is not None and case.engine.without_dbo:
        text = f"dbo of {role.name} has no effect with engine.kind {case.file.engine.kind}"
        yield Finding(("roles", role.name, "dbo"), f"{text}: {case.engine.without_dbo}", "remove dbo")


def dcp_divides(_: Case, role: RoleSpec) -> Iterator[Finding]:
    """Decode context parallelism reuses the devices of tensor and prefill context parallelism.

    Source: vLLM, vllm/config/parallel.py; with pcp newer releases take 1, pcp or tp × pcp.
    """
    fits = not role.tp % role.dcp
    if role.pcp > 1:
        fits = fits or role.dcp in (role.pcp, role.tp * role.pcp)
    if not fits:
        wider = f", and is neither pcp {role.pcp} nor tp × pcp" if role.pcp > 1 else ""
        yield Finding(
            ("roles", role.name, "dcp"),
            f"dcp {role.dcp} of {role.name} does not divide tp {role.tp}, whose devices it reuses{wider}",
            "make dcp a divisor of tp",
        )


def masters_belong(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """One master per group, a node of that group."""
    path = ("roles", role.name, "master")
    written = case.file.roles.given()[role.name].master or ()
    if written and len(written) != role.groups:
        yield Finding(
            path,
            f"{role.name} has {counted(role.groups, 'group')} and {counted(len(written), 'master')}",
            "name one master per group, in order, or none for each group's first node",
        )
        return
    for group, (name, master) in enumerate(zip(written, role.masters, strict=True)):
        nodes = role.nodes_of(group)
        if master not in nodes:
            yield Finding(
                path,
                f"master {name} is not a node of {role.name}'s group {group}",
                f"name one of: {fold(nodes)}",
            )


_HERE = "roles.{role}."
_DEALT = ("nodes.*.name", _HERE + "nodes", _HERE + "groups")
ROLE_RULES = (
    RoleRule((_HERE + "groups", _HERE + "dp"), ranks_bounded),
    RoleRule(("nodes.*.name", _HERE + "nodes"), nodes_exist),
    RoleRule(_DEALT, groups_divide),
    RoleRule((*_DEALT, _HERE + "dp", "engine.kind"), dp_divides),
    RoleRule((*_DEALT, *(_HERE + key for key in ("dp", "tp", "pp", "pcp")), "engine.kind"), parts_divide),
    RoleRule((_HERE + "lb", "engine.kind"), lb_known),
    RoleRule((_HERE + "ep", _HERE + "dp", _HERE + "tp", _HERE + "pcp"), ep_agrees),
    RoleRule((_HERE + "dbo", "engine.kind"), dbo_known),
    RoleRule((_HERE + "dcp", _HERE + "tp", _HERE + "pcp"), dcp_divides),
    RoleRule((*_DEALT, _HERE + "master", "nodes.*.host", "nodes.*.address"), masters_belong),
)
