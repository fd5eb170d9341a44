"""What MindIE's job and its service share: rank table, environment, links, rules."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines import rules
from dplaunch.engines.adapter import Site
from dplaunch.engines.settings import Env, secrets, user_env
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec, EnvValue, NodeSpec, RoleSpec
from dplaunch.model.plan import File, RankTable, Seat
from dplaunch.ranges import fold, grouped

TABLE = "ranktable.json"
"""In the node's folder."""
TABLE_NAMES = ("RANKTABLEFILE", "RANK_TABLE_FILE", "MIES_RANKTABLEFILE")
"""Variables that name the rank table, for the ATB documents, for HCCL, and for the service's boot script."""
OWN_NAMES = (
    *TABLE_NAMES,
    "BACKEND",
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "MASTER_IP",
    "ASCEND_RT_VISIBLE_DEVICES",
)
COMPUTED = "What addresses, hardware and the rank table need"
WRITTEN = "From the cluster file"
LINKS = ("HCCL_INTRA_PCIE_ENABLE", "HCCL_INTRA_ROCE_ENABLE")
"""Which link carries the traffic between the devices of a server: PCIe, or RoCE (RDMA) as between servers."""
PACKAGES = {"CANN": (), "torch": ("torch",), "torch_npu": ("torch-npu",), "atb_llm": ("atb-llm",)}


def spans(role: RoleSpec) -> bool:
    """Whether a group is on several nodes, which only a rank table connects."""
    return len(role.nodes) > role.groups


def rank_table(spec: ClusterSpec, *, containers: bool) -> RankTable | None:
    """The table of the first role's group; None where that is on one node: there MindIE runs without one."""
    role = spec.roles[0]
    if not spans(role):
        return None
    nodes = role.nodes_of(0)
    first = nodes.index(role.masters[0]) if role.masters and role.masters[0] in nodes else 0
    named = spec.engine.rank_table
    path = named if named and named.startswith("/") else TABLE
    order = nodes[first:] + nodes[:first]
    return RankTable(path=path, nodes=order, made=named is None, containers=containers)


def table_env(table: RankTable | None) -> Env:
    """The table's path under all its names; ``${root}`` is the node's folder."""
    if table is None:
        return {}
    path = table.path.replace("$", "$$") if table.path.startswith("/") else f"${{root}}/{table.path}"
    return dict.fromkeys(TABLE_NAMES, path)


def table_file(site: Site) -> tuple[File, ...]:
    """A rank table from beside the cluster file, as it is sent to the node."""
    text = site.spec.engine.rank_table_text
    return (File(TABLE, text, 0o640),) if text is not None else ()


def network_env(site: Site) -> Env:
    """By which interface HCCL's hosts meet; an A2's devices reach one another by PCIe within a server."""
    env: Env = {"HCCL_IF_IP": "${local_ip}", "HCCL_SOCKET_IFNAME": "${nic_name}"}
    if site.spec.hardware.family == "a2":
        env |= {LINKS[0]: "1", LINKS[1]: "0"}
    return env


def environment(site: Site, computed: Env) -> list[tuple[str, list[tuple[str, EnvValue]]]]:
    """Exports of a script: computed values that the file does not override, then the file's own."""
    own = user_env(site, site.seats[0])
    texts = {name: value for name, value in own.items() if isinstance(value, str)}
    return [
        (COMPUTED, [(name, value) for name, value in computed.items() if name not in own]),
        (WRITTEN, list(texts.items())),
    ]


def context(site: Site, computed: Env) -> dict[str, object]:
    """What the scripts of both forms say of their node; ``computed`` is dplaunch's environment."""
    return {
        "title": f"{site.spec.name}: {site.role.name} on {site.node.name} ({site.node.address})",
        "setup": site.spec.runtime.setup,
        "python": site.spec.runtime.python,
        "address": site.node.address,
        "pod": bool(site.node.pod),
        "nic": site.interface,
        "exports": environment(site, computed),
        "secrets": sorted(secrets(site, site.seats[0])),
        "arms": (),
    }


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """What neither of the two can do, and what dplaunch computes for both."""
    computed = "'{name}' is computed by dplaunch for every rank"
    yield from rules.forbidden(
        spec, OWN_NAMES, computed, "remove it; engine.rank_table names a table of your own"
    )
    yield from _check_links(spec)
    yield from _check_roles(spec)
    yield from _check_table(spec)
    for name in spec.overrides:
        if not name.startswith("node:"):
            text = f"{name} has no settings of its own: all ranks of a group run with the same"
            yield Problem(text, key=f"overrides.{name}", hint="override the node: node:NAME")


def _check_links(spec: ClusterSpec) -> Iterator[Problem]:
    for place, env in rules.environments(spec):
        if all(env.get(name) in ("1", "true", "TRUE") for name in LINKS):
            text = (
                f"{LINKS[0]} and {LINKS[1]} exclude each other: one link carries the traffic within a server"
            )
            hint = f"{LINKS[1]}: 1 with {LINKS[0]}: 0 for RDMA, the other way round for PCIe"
            yield Problem(text, key=f"{place}.{LINKS[1]}", hint=hint)


def _check_roles(spec: ClusterSpec) -> Iterator[Problem]:
    if spec.disaggregated:
        text = "MindIE separates prefill and decode on Kubernetes only"
        yield Problem(text, key="roles", hint="use the role serve, or engine.kind mindie-motor")
    for role in spec.roles:
        if role.groups > 1 and spans(role):
            text = f"{role.name} has {role.groups} groups on several nodes each, and a rank table names one"
            yield Problem(text, key=f"roles.{role.name}.groups", hint="a cluster file for each group")
    if spec.kv_transfer is not None:
        yield Problem("MindIE takes no kv_transfer here", key="kv_transfer", hint="remove it")


def _check_table(spec: ClusterSpec) -> Iterator[Problem]:
    role = spec.roles[0]
    if not spans(role):
        if spec.engine.rank_table:
            text = f"{role.name} is on one node for each group, where MindIE must run without a rank table"
            yield Problem(text, key="engine.rank_table", hint="remove it")
        return
    need = role.seats_per_node * role.devices_per_seat
    others = grouped((len(node.devices), node.name) for node in nodes_of(spec, role))
    for devices, names in others.items():
        if devices != need:
            text = (
                f"{fold(names)}: {devices} devices, and {role.name} takes {need} of them: "
                "the rank table names all, and every one of them is a rank"
            )
            key = f"nodes.{names[0]}.devices"
            yield Problem(text, key=key, hint=f"devices: {need}, or the numbers of {need}")


def nodes_of(spec: ClusterSpec, role: RoleSpec) -> tuple[NodeSpec, ...]:
    """The nodes of a role, in the order of the file."""
    return tuple(node for node in spec.nodes if node.name in role.nodes)


def group_devices(site: Site, seat: Seat) -> list[int]:
    """All devices of a seat's group on this node, in the order in which a rank table numbers them."""
    return sorted(device for other in site.seats if other.group == seat.group for device in other.devices)
