"""The verdict on a cluster: plan against observation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dplaunch.fleet.lock import FAILED, PROVED, READY
from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import Plan, Process
from dplaunch.model.summary import Health, LastProof, RoleSummary, Summary

RUNS = (State.RUNNING, State.UNGUARDED)


def summarise(plan: Plan, observed: Observed) -> Summary:
    """What the nodes said (health asked) held against what should run."""
    places = {p.place for p in plan.processes}
    seen = {p.name: p for p in observed.processes if p.place in places}
    reached = {node.name for node in observed.nodes}
    missing = tuple(p.name for p in plan.processes if p.name not in seen and p.node in reached)
    failing = tuple(n for n, p in seen.items() if not runs(p))
    router = plan.router_process
    leftover = tuple(p.name for p in observed.processes if p.place not in places and p.alive)
    leftover += tuple(n for n in failing if seen[n].left)
    return Summary(
        state=health(plan, observed, seen),
        roles=tuple(_role(role, plan, seen) for role in _roles(plan)),
        failing=failing,
        missing=missing,
        leftover=leftover,
        unreached=tuple(sorted(observed.unreached)),
        stale=tuple(n.name for n in observed.nodes if n.revision and n.revision != plan.revision),
        router_ok=None if router is None else serves(seen.get(router.name)),
        proof=last_proof(observed),
    )


def last_proof(observed: Observed) -> LastProof | None:
    """From the audit trail: its last entry over all nodes, where that is about a proof."""
    trails = [node for node in observed.nodes if node.audit]
    if not trails:
        return None
    node = max(trails, key=lambda node: _number(node.audit.get("at")))
    verb, who, outcome = (str(node.audit.get(key, "?")) for key in ("verb", "who", "outcome"))
    good = outcome in (READY, PROVED)
    if not good and not outcome.startswith(FAILED):
        return None
    said = str(node.audit.get("unproved") or "") if good else outcome.removeprefix(FAILED)
    age = max(0.0, node.clock - _number(node.audit.get("at")))
    return LastProof(holds=not said, verb=verb, who=who, age=age, said=said)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def health(plan: Plan, observed: Observed, seen: Mapping[str, ObservedProcess]) -> Health:
    """The cluster in one word."""
    if not observed.nodes:
        return Health.UNKNOWN
    if not any(p.alive for p in observed.processes):
        return Health.DOWN if not observed.unreached else Health.UNKNOWN
    if all(serves(seen.get(p.name)) for p in plan.processes):
        return Health.SERVING
    if observed.unreached or not all(runs(seen.get(p.name)) for p in plan.processes):
        return Health.DEGRADED
    # Everything runs: what does not answer yet has not been ready, or stopped being so. A router
    # that answers 503 while engines load is the former.
    return Health.STARTING


def runs(process: ObservedProcess | None) -> bool:
    """Its main process is alive."""
    return process is not None and process.state in RUNS


def serves(process: ObservedProcess | None) -> bool:
    """It runs and answered /health with 200."""
    return runs(process) and process is not None and process.healthy is True


def _roles(plan: Plan) -> list[str]:
    return list(dict.fromkeys(p.role for p in plan.processes if p.kind == "engine"))


def _role(role: str, plan: Plan, seen: Mapping[str, ObservedProcess]) -> RoleSummary:
    engines = [p for p in plan.processes if p.role == role]
    groups = list(dict.fromkeys(p.group for p in engines))
    ready = {p.name for p in engines if serves(seen.get(p.name))}
    return RoleSummary(
        role=role,
        groups=len(groups),
        groups_ready=sum(_whole(group, engines, ready) for group in groups),
        engines=len(engines),
        engines_ready=len(ready),
    )


def _whole(group: str, engines: Iterable[Process], ready: set[str]) -> bool:
    return all(p.name in ready for p in engines if p.group == group)
