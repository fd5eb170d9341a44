"""The verdict on a cluster: plan against observation. Pure."""

from __future__ import annotations

from collections.abc import Collection

from dplaunch.model.observed import Observed, ObservedProcess
from dplaunch.model.plan import Place, Plan
from dplaunch.model.summary import ClusterHealth, LastProof, RoleSummary, Summary
from dplaunch.model.trail import Result

Seen = dict[Place, ObservedProcess]


def summarise(plan: Plan, observed: Observed, held: Collection[str] = ()) -> Summary:
    """What the nodes reported (health asked) held against what should run.

    ``held``: groups that the router keeps closed although they may run.
    """
    seen = {p.place: p for p in observed.processes}
    router = plan.router_process
    found = ((seen[p.place], e.name) for p in plan.processes if p.place in seen for e in p.endpoints)
    serving = {name for process, name in found if process.endpoint_serves(name)}
    return Summary(
        state=judge_health(plan, observed, seen, held),
        roles=tuple(_role(role, plan, serving) for role in _roles(plan)),
        held=tuple(group for group in held if group in {e.group for e in plan.endpoints}),
        unreached=tuple(sorted(observed.unreached)),
        stale=tuple(n.name for n in observed.nodes if n.revision and n.revision != plan.revision),
        router_ok=None if router is None else bool(seen.get(router.place) and seen[router.place].serves),
        proof=last_proof(observed),
    )


def last_proof(observed: Observed) -> LastProof | None:
    """From the audit trail: its last entry over all nodes, where that is about a proof."""
    trails = [(node.last, node.clock) for node in observed.nodes if node.last]
    if not trails:
        return None
    last, clock = max(trails, key=lambda trail: trail[0].at)
    if last.result not in (Result.READY, Result.PROVED, Result.FAILED):
        return None
    reason = last.reason if last.result is Result.FAILED else last.unproved
    age = max(0.0, clock - last.at)
    passed = last.result is not Result.FAILED and not reason
    return LastProof(passed=passed, verb=last.verb, who=last.who, age=age, reason=reason)


def judge_health(plan: Plan, observed: Observed, seen: Seen, held: Collection[str]) -> ClusterHealth:
    """The cluster in one word."""
    if not observed.nodes:
        return ClusterHealth.UNKNOWN
    found = [seen.get(process.place) for process in plan.processes]
    if all(process is not None and process.serves for process in found):
        # also where nothing but jobs was to run, and all are done
        opened = {endpoint.role for endpoint in plan.endpoints if endpoint.group not in held}
        return ClusterHealth.SERVING if opened.issuperset(_roles(plan)) else ClusterHealth.CLOSED
    if not any(p.alive for p in observed.processes):
        return ClusterHealth.DOWN if not observed.unreached else ClusterHealth.UNKNOWN
    if observed.unreached or not all(
        process is not None and (process.runs or process.serves) for process in found
    ):
        return ClusterHealth.DEGRADED
    # Everything runs: what does not respond is not ready yet, or has stopped being ready. A router
    # responds 503 while engines load.
    return ClusterHealth.STARTING


def _roles(plan: Plan) -> list[str]:
    return list(dict.fromkeys(endpoint.role for endpoint in plan.endpoints))


def _role(role: str, plan: Plan, serving: set[str]) -> RoleSummary:
    endpoints = [endpoint for endpoint in plan.endpoints if endpoint.role == role]
    return RoleSummary(
        role=role,
        engines=len(endpoints),
        engines_ready=sum(endpoint.name in serving for endpoint in endpoints),
    )
