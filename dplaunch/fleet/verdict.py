"""The verdict on a cluster: plan against observation. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from dplaunch.model.observed import Observed, ObservedEndpoint, ObservedProcess, State
from dplaunch.model.plan import ROUTER, Endpoint, Place, Plan, Process
from dplaunch.model.summary import Cause, ClusterHealth, LastProof, RoleSummary, Summary
from dplaunch.model.trail import Result

Seen = dict[Place, ObservedProcess]


def mark_stuck(observed: Observed, stuck: Mapping[str, str]) -> Observed:
    """``observed`` with the endpoints that the router found stuck: not healthy, whatever they say."""

    def endpoint(seen: ObservedEndpoint) -> ObservedEndpoint:
        return replace(seen, healthy=False, stuck=stuck[seen.name]) if seen.name in stuck else seen

    def process(seen: ObservedProcess) -> ObservedProcess:
        return replace(seen, endpoints=tuple(map(endpoint, seen.endpoints)))

    nodes = (replace(n, processes=tuple(map(process, n.processes))) for n in observed.nodes)
    return replace(observed, nodes=tuple(nodes)) if stuck else observed


def summarise(plan: Plan, observed: Observed, held: Collection[str] = ()) -> Summary:
    """What the nodes reported (health asked) held against what should run.

    ``held``: groups that the router keeps closed although they may run.
    """
    seen = {p.place: p for p in observed.processes}
    router = plan.router_process
    out = _broken_groups(plan, seen)
    roles = _roles_out(plan, observed, seen, out | set(held))
    proof = last_proof(observed)
    proved = proof is not None and proof.passed
    state = _judge_health(plan, observed, seen, held, roles, proved=proved)
    broken = state in (ClusterHealth.OUTAGE, ClusterHealth.DEGRADED)
    return Summary(
        state=state,
        roles=tuple(_role(role, plan, seen, out) for role in _roles(plan)),
        cause=_find_cause(plan, observed, seen, roles) if broken else None,
        out=tuple(sorted(out)),
        held=tuple(group for group in held if group in {e.group for e in plan.endpoints}),
        unreached=tuple(sorted(observed.unreached)),
        stale=tuple(n.name for n in observed.nodes if n.revision and n.revision != plan.revision),
        router_ok=None if router is None else bool(seen.get(router.place) and seen[router.place].serves),
        proof=proof,
    )


def last_proof(observed: Observed) -> LastProof | None:
    """From the audit trail: its last entry over all nodes, where that is about a proof."""
    trails = [(node.last, node.clock) for node in observed.nodes if node.last]
    if not trails:
        return None
    last, clock = max(trails, key=lambda trail: trail[0].at)
    if last.result not in (Result.READY, Result.PROVED, Result.FAILED):
        return None
    failed = last.result is Result.FAILED
    reason = last.reason if failed else last.unproved
    return LastProof(
        passed=not (failed or reason),
        verb=last.verb,
        who=last.who,
        age=max(0.0, clock - last.at),
        reason=reason,
        earlier=not failed and bool(reason),
    )


def _judge_health(
    plan: Plan, observed: Observed, seen: Seen, held: Collection[str], out: Collection[str], *, proved: bool
) -> ClusterHealth:
    """The cluster in one word.

    ``out``: roles without a group that serves. ``proved``: all of it served once, and nothing has changed it.
    """
    if not observed.nodes:
        return ClusterHealth.UNKNOWN
    found = [seen.get(process.place) for process in plan.processes]
    if all(process is not None and process.serves for process in found):
        if plan.is_job:
            return ClusterHealth.DONE
        opened = {endpoint.role for endpoint in plan.endpoints if endpoint.group not in held}
        return ClusterHealth.SERVING if opened.issuperset(_roles(plan)) else ClusterHealth.CLOSED
    if not any(p.alive for p in observed.processes):
        return ClusterHealth.DOWN if not observed.unreached else ClusterHealth.UNKNOWN
    runs = all(process is not None and (process.runs or process.serves) for process in found)
    if runs and not observed.unreached and not proved and not any(p.stuck for p in observed.processes):
        # Everything runs: what does not respond is not ready yet. A router responds 503 while engines load.
        return ClusterHealth.STARTING
    return ClusterHealth.OUTAGE if out else ClusterHealth.DEGRADED


def _roles_out(plan: Plan, observed: Observed, seen: Seen, closed: Collection[str]) -> list[str]:
    """Roles without a group that serves, or the router. ``closed``: groups that do not, as far as was seen.

    A group on an unreachable node may serve, unless the router refuses.
    """
    router = plan.router_process
    gate = None if router is None else seen.get(router.place)
    if router is not None and router.node not in observed.unreached and not (gate and gate.runs):
        return [ROUTER]
    refuses = gate is not None and gate.healthy is False
    unseen = set() if refuses else {p.group for p in plan.processes if p.node in observed.unreached}
    lost = {p.group for p in _find_wrong(plan, observed, seen)}
    able = {e.role for e in plan.endpoints if e.group not in closed or e.group in unseen - lost}
    return [role for role in _roles(plan) if role not in able]


def _find_wrong(plan: Plan, observed: Observed, seen: Seen) -> list[Process]:
    """Processes on nodes that replied which do not serve."""
    reached = (process for process in plan.processes if process.node not in observed.unreached)
    return [process for process in reached if not _is_well(process, seen)]


def _is_well(process: Process, seen: Seen) -> bool:
    found = seen.get(process.place)
    return found is not None and found.serves


def _find_cause(plan: Plan, observed: Observed, seen: Seen, roles: Collection[str]) -> Cause | None:
    """What ended first in ``roles``, which are out; else what is missing, is not ready, or is unreachable."""
    clocks = {node.name: node.clock for node in observed.nodes}
    wrong = _find_wrong(plan, observed, seen)
    causes = [
        (p.role not in roles, _order(seen.get(p.place)), _cause(p, seen.get(p.place), clocks[p.node]))
        for p in wrong
        if p.role != ROUTER or ROUTER in roles or len(wrong) == 1
    ]
    if causes:
        return min(causes, key=lambda cause: cause[:2])[2]
    return next((Cause(node=node) for node in sorted(observed.unreached)), None)


def _order(found: ObservedProcess | None) -> tuple[int, bool, float]:
    """What ended comes first, by its time; then what is missing; then what is stuck, or is not ready."""
    if found is None:
        return 1, False, 0.0
    return (2, not found.stuck, found.started_at) if found.runs else (0, False, found.ended_at)


def _cause(process: Process, found: ObservedProcess | None, clock: float) -> Cause:
    name, node = process.name, process.node
    if found is None:
        return Cause(process=name, node=node, how="missing")
    if found.stuck:
        return Cause(process=name, node=node, how="stuck", mend="restart")
    if found.runs:
        return Cause(process=name, node=node, how="running, but not ready", mend="restart")
    ago = max(0.0, clock - found.ended_at) if found.ended_at else 0.0
    how = found.ending if found.state in (State.EXITED, State.DONE) else found.state.value
    return Cause(process=name, node=node, how=how, ago=ago, hint=found.hint if found.unclear else "")


def _roles(plan: Plan) -> list[str]:
    return list(dict.fromkeys(endpoint.role for endpoint in plan.endpoints))


def _broken_groups(plan: Plan, seen: Seen) -> set[str]:
    """Groups of which an endpoint or a process does not serve, as far as nodes reported."""
    broken = {p.group for p in plan.processes if p.kind == "engine" and not _is_well(p, seen)}
    return broken | {
        endpoint.group
        for process in plan.processes
        for endpoint in process.endpoints
        if process.kind == "engine" and not _endpoint_serves(endpoint, seen.get(process.place))
    }


def _endpoint_serves(endpoint: Endpoint, process: ObservedProcess | None) -> bool:
    return process is not None and process.endpoint_serves(endpoint.name)


def _role(role: str, plan: Plan, seen: Seen, out: set[str]) -> RoleSummary:
    places = [(e, p.place) for p in plan.processes for e in p.endpoints if e.role == role]
    groups = {endpoint.group for endpoint, _ in places}
    return RoleSummary(
        role=role,
        groups=len(groups),
        groups_ready=len(groups - out),
        engines=len(places),
        engines_ready=sum(_endpoint_serves(endpoint, seen.get(place)) for endpoint, place in places),
    )
