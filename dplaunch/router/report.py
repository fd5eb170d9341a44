"""The state as JSON values, for /health and /members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .pick import open_groups
from .state import Member, State


def health(state: State) -> dict[str, Any]:
    """``{"status": "ok" | "unavailable", "roles": {role: {"groups": n, "serving": n}}, "reasons": [...]}``.

    Reasons are sentences, and given whenever not everything serves.
    """
    seen = state.candidates(*state.needed)
    roles = {}
    for role in state.needed:
        groups = {c.group for c in seen if c.role == role}
        roles[role] = {"groups": len(groups), "serving": len(open_groups(seen, role))}
    return {
        "status": "ok" if state.ready() else "unavailable",
        "revision": state.membership.revision,
        "flow": state.membership.flow,
        "roles": roles,
        "reasons": reasons(state),
    }


def reasons(state: State) -> list[str]:
    """Return one sentence for each thing that does not serve; trouble with the members file comes first."""
    found = [state.problem] if state.problem else []
    known = {member.entry.role for member in state.members.values()}
    found += [f"the members file names no {role} engine" for role in state.needed if role not in known]
    groups: dict[str, list[Member]] = {}
    for member in state.members.values():
        groups.setdefault(member.entry.group, []).append(member)
    return found + [sentence for group in groups.items() for sentence in _sentences(*group)]


def _sentences(group: str, engines: Sequence[Member]) -> list[str]:
    """One for the group where the same holds for all its engines, else one for each of them."""
    troubles = {member.entry.name: _trouble(member) for member in engines}
    first, *others = troubles.values()
    if others and first and all(trouble == first for trouble in others):
        return [f"group {group} {first}"]
    return [f"{name} ({group}) {trouble}" for name, trouble in troubles.items() if trouble]


def _trouble(member: Member) -> str:
    if not member.alive:
        return f"is out: {member.reason}"
    if member.stuck:
        return f"is stuck: {member.stuck}"
    return {
        "held": "is held: it takes requests that name it only",
        "proving": f"is not proved: {member.doubt or 'no answer yet'}",
        "serving": "",
        "draining": "is draining",
    }[member.state]


def members(state: State) -> dict[str, Any]:
    """Return everything the router sees. Counts are of the worker that answers: /metrics has all."""
    opened = {role: open_groups(state.candidates(role), role) for role in state.needed}
    return {
        "revision": state.membership.revision,
        "model": state.membership.model,
        "flow": state.membership.flow,
        "policy": state.policy,
        "problem": state.problem,
        "ready": state.ready(),
        "members": [
            {
                "name": member.entry.name,
                "role": member.entry.role,
                "group": member.entry.group,
                "url": member.entry.url,
                "state": member.state,
                "alive": member.alive,
                "stuck": member.stuck,
                "group_open": member.entry.group in opened[member.entry.role],
                "reason": _trouble(member),
                "requests": member.requests,
                "tokens": round(member.tokens),
                "running": member.running,
                "waiting": member.waiting,
            }
            for member in state.members.values()
        ],
    }
