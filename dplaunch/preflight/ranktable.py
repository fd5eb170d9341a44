"""The walk of ``ranktable``, which makes a table of what devices answer, and what ``check`` finds about one.

``device_ip`` is the address over which data leaves a device: of an A2 that of its RoCE port; of an A3 that of
its virtual port, or of its RoCE port where the table has more than one super pod (HCCL needs it there) or
HCCL_INTER_HCCS_DISABLE is set.
Where ``kv_transfer`` names a table (LLMDataDist), that connector's own kind is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dplaunch.engines import adapter
from dplaunch.errors import DplaunchError, SpecError, UsageError
from dplaunch.fleet.job import Job, connect_all, need_all, phase
from dplaunch.model.check import Facts, Finding, Level
from dplaunch.model.cluster import DECODE, NPUS, PREFILL, ClusterSpec, NodeSpec
from dplaunch.preflight.survey import make_targets, parse_facts, run_surveys
from dplaunch.probes import npu_address, npu_roce, npu_superpod
from dplaunch.probes.ascend import A3, A5, explain_hindrance
from dplaunch.probes.findings import list_some, name_devices
from dplaunch.probes.npu_pairs import NamedDevices, list_addresses
from dplaunch.probes.npu_superpod import is_unset
from dplaunch.probes.probe import Probe, ProbeTarget, find_peers
from dplaunch.ranges import fold, grouped
from dplaunch.ranktable import Device, NodeDevices, Site, make_table, make_transfer_table, site_of, verify
from dplaunch.words import join_words, plural

TABLE = "npu.ranktable"
MADE = "the table made of the nodes' answers"
SILENT: Facts = {"devices": {}, "unread": [], "hindrance": ""}
"""Of a probe none of whose commands came to its end in time."""
FAULTS = 20
"""Faults that an error lists."""

Seen = Mapping[str, Mapping[str, Facts]]
"""Node → probe name → facts."""
Fault = tuple[str, str]
"""A node, and what is wrong with it or its devices."""


def list_nodes(spec: ClusterSpec) -> tuple[NodeSpec, ...]:
    """Return the nodes of the cluster's rank table: those whose devices exchange data with other nodes'.

    Raises UsageError where it needs none, or one that dplaunch does not make.
    """
    if spec.hardware.family == A5:
        raise UsageError("a 950 takes a rank table of version 2.0, which dplaunch does not make")
    nodes = tuple(node for node in spec.nodes if node.devices and find_peers(spec, node.name))
    if nodes and spec.hardware.family in NPUS:
        return nodes
    raise UsageError(
        "no rank table is needed: no Ascend devices of this cluster exchange data with those of another node",
        hint="engines of a single machine run without one",
    )


def find_site(spec: ClusterSpec) -> Site:
    """Return what the cluster's rank table is for. Raises UsageError as ``list_nodes`` does."""
    table = adapter(spec.engine.kind).rank_table(spec)
    if table:
        return site_of(spec, table)
    return Site(
        nodes=list_nodes(spec),
        family=spec.hardware.family,
        roles={role.name: role.nodes for role in spec.roles},
        transfer=bool(spec.kv_transfer and spec.kv_transfer.rank_table),
    )


def make(job: Job, spec: ClusterSpec) -> str:
    """Return the text of the cluster's rank table. Raises what keeps it from being made."""
    if job.plan.rehearsal:
        raise UsageError("a rehearsal has no devices that could be asked", hint="leave --rehearse out")
    site = find_site(spec)
    names = [node.name for node in site.nodes]
    targets = {target.name: target for target in make_targets(job, spec)}
    nodes = tuple(targets[name] for name in names)
    connect_all(job, names)
    with phase(job, "ask devices", plural(len(nodes), "node")):
        seen = _ask_all(job, nodes, site, avoids_hccs=_avoids_hccs(spec))
    text = _make_text(nodes, seen, site)
    problems = verify(text, MADE, site)
    if any(not problem.warning for problem in problems):
        raise SpecError(problems, MADE)
    return text


def _make_text(nodes: Sequence[ProbeTarget], seen: Seen, site: Site) -> str:
    if not site.transfer:
        read = [_read_node(t, seen[t.name], sorted(t.node.devices)) for t in nodes]
        return make_table(read, containers=site.containers)
    prefill, decode = (
        [_read_node(t, seen[t.name], found) for t in nodes if (found := _list_devices(t, role))]
        for role in (PREFILL, DECODE)
    )
    return make_transfer_table(prefill, decode)


def _list_devices(target: ProbeTarget, role: str) -> list[int]:
    """Return the devices that the seats of a role have on a node, in the order of the seats."""
    seats = (seat for process in target.plan.processes for seat in process.seats if seat.role == role)
    return [device for seat in seats for device in seat.devices]


def _avoids_hccs(spec: ClusterSpec) -> bool:
    """Return whether HCCL is told to use RoCE between the nodes of a super pod too."""
    given = (str(role.env.get("HCCL_INTER_HCCS_DISABLE", "")) for role in spec.roles)
    return any(value.upper() == "TRUE" for value in given)


def _ask_all(job: Job, nodes: Sequence[ProbeTarget], site: Site, *, avoids_hccs: bool) -> Seen:
    """Return addresses and places of all devices. Raises DplaunchError naming those that have none."""
    a3 = site.family == A3
    seen = _ask(job, nodes, [npu_address.PROBE, *([npu_superpod.PROBE] if a3 else [])])
    faults = [*_find_faults(nodes, npu_address.PROBE, seen), *_find_unplaced(nodes, seen)]
    if not site.transfer:
        faults += [] if faults else _find_scattered(nodes, seen)
    pods = len(_group_pods(seen))
    if not faults and not site.transfer and (pods > 1 or (pods and avoids_hccs)):
        roce = _ask(job, nodes, [npu_roce.PROBE])
        faults = list(_find_faults(nodes, npu_roce.PROBE, roce))
        seen = {name: {**facts, npu_address.NAME: roce[name][npu_roce.NAME]} for name, facts in seen.items()}
    _refuse(faults)
    return seen


def _ask(job: Job, nodes: Sequence[ProbeTarget], probes: Sequence[Probe]) -> dict[str, dict[str, Facts]]:
    surveys = run_surveys(job, nodes, probes, {})
    need_all(job)
    silent = dict.fromkeys((probe.name for probe in probes), SILENT)
    return {t.name: {**silent, **parse_facts(probes, t, surveys[t.name])} for t in nodes}


def _find_faults(nodes: Sequence[ProbeTarget], probe: Probe, seen: Seen) -> Iterator[Fault]:
    """Yield what a probe of ``hccn_tool`` finds, and devices of which it read nothing."""
    facts = {name: found[probe.name] for name, found in seen.items()}
    findings = [one for one in probe.judge(nodes, facts) if one.level in (Level.FAIL, Level.WARN)]
    for one in findings:
        yield one.node, f"{one.text} ({one.remedy})" if one.remedy else one.text
    reported = {one.node for one in findings}
    for target in nodes:
        missing = _list_missing(target, facts[target.name])
        if missing and target.name not in reported:
            yield target.name, _explain_silence("hccn_tool", missing, facts[target.name])


def _explain_silence(tool: str, devices: Sequence[int], facts: Facts) -> str:
    if facts["hindrance"]:
        _, text, remedy = explain_hindrance(tool, facts["hindrance"])
        return f"{text} ({remedy})"
    why = list_some(facts["unread"], 3) or "none in time"
    return f"{name_devices(devices)}: no readable answer of {tool} ({why})"


def _list_missing(target: ProbeTarget, facts: Facts) -> list[int]:
    return [device for device in target.node.devices if str(device) not in facts["devices"]]


def _find_unplaced(nodes: Sequence[ProbeTarget], seen: Seen) -> Iterator[Fault]:
    """Yield the A3 devices whose place in a super pod is unknown."""
    for target in nodes:
        facts = seen[target.name].get(npu_superpod.NAME)
        missing = _list_missing(target, facts) if facts else []
        if facts and missing:
            yield target.name, _explain_silence("npu-smi", missing, facts)
        unset = [device for device, place in facts["devices"].items() if is_unset(place)] if facts else []
        if unset:
            yield target.name, f"{name_devices(unset)}: super pod is not configured ({npu_superpod.REMEDY})"


def _find_scattered(nodes: Sequence[ProbeTarget], seen: Seen) -> Iterator[Fault]:
    """Yield nodes in several super pods, and super pods whose nodes other nodes separate."""
    order = [target.name for target in nodes]
    pods = {pod: sorted(set(names), key=order.index) for pod, names in _group_pods(seen).items()}
    for name, found in grouped((name, pod) for pod, names in pods.items() for name in names).items():
        if len(found) > 1:
            yield name, f"its devices are in super pods {join_words([str(pod) for pod in found])}"
    for pod, names in pods.items():
        if order.index(names[-1]) - order.index(names[0]) >= len(names):
            text = f"{join_words(names)} of super pod {pod} are not next to each other in `nodes`"
            yield names[-1], f"{text} of the cluster file, as HCCL needs them"


def _group_pods(seen: Seen) -> dict[int, list[str]]:
    """Return super pod → the nodes of its devices."""
    return grouped(
        (place["pod"], name)
        for name, facts in seen.items()
        for place in facts.get(npu_superpod.NAME, {}).get("devices", {}).values()
    )


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        lines = [f"{fold(names)}: {text}" for text, names in grouped((t, n) for n, t in faults).items()]
        more = [f"… and {len(lines) - FAULTS} more"] if len(lines) > FAULTS else []
        raise DplaunchError(
            f"no rank table was made, because of {plural(len(lines), 'fault')}",
            hint="dplaunch check finds more about them",
            detail=(*lines[:FAULTS], *more),
        )


def _read_node(target: ProbeTarget, facts: Mapping[str, Facts], wanted: Iterable[int]) -> NodeDevices:
    ports, places = facts[npu_address.NAME]["devices"], facts.get(npu_superpod.NAME, {}).get("devices", {})
    devices = tuple(
        Device(
            number=device,
            address=ports[str(device)]["address"],
            sdid=places.get(str(device), {}).get("sdid"),
            pod=places.get(str(device), {}).get("pod"),
        )
        for device in wanted
    )
    return NodeDevices(name=target.name, address=target.node.address, devices=devices)


def name_devices_of(table: Sequence[NodeDevices], spec: ClusterSpec) -> NamedDevices | None:
    """Return what the ping needs to know of a table; nothing without one."""
    addresses = {(node.name, device.number): device.address for node in table for device in node.devices}
    pods = {device.pod for node in table for device in node.devices}
    over_roce = len(pods) > 1 or (pods != {None} and _avoids_hccs(spec))
    return NamedDevices(addresses, over_roce=over_roce) if table else None


def judge_table(table: Sequence[NodeDevices], seen: Seen) -> Iterator[Finding]:
    """Yield ``npu.ranktable``: devices that report another address or SDID than the table has."""
    for node in table:
        compared = [one for one in node.devices if list_addresses(seen.get(node.name, {}), one.number)]
        stale = dict(_find_stale(compared, seen.get(node.name, {})))
        if stale:
            yield Finding(
                probe=TABLE,
                level=Level.FAIL,
                node=node.name,
                text=f"{name_devices(stale)}: the rank table has {next(iter(stale.values()))}",
                remedy="make the table again: dplaunch ranktable --save FILE",
            )
        elif compared:
            text = f"{len(compared)} devices are as the rank table has them"
            yield Finding(probe=TABLE, level=Level.OK, node=node.name, text=text)


def _find_stale(devices: Sequence[Device], facts: Mapping[str, Facts]) -> Iterator[tuple[int, str]]:
    places = facts.get(npu_superpod.NAME, {}).get("devices", {})
    for device in devices:
        known = list_addresses(facts, device.number)
        sdid = places.get(str(device.number), {}).get("sdid", device.sdid)
        if device.address and device.address not in known:
            yield device.number, f"address {device.address}, but the device has {known[0]}"
        elif device.sdid is not None and device.sdid != sdid:
            yield device.number, f"super_device_id {device.sdid}, but the device has {sdid}"
