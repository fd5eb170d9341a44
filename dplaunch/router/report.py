"""What /health and /members say: the state as JSON values."""

from __future__ import annotations

from typing import Any

from .members import ROLES
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
        "roles": roles,
        "reasons": reasons(state),
    }


def reasons(state: State) -> list[str]:
    """One sentence for each thing that does not serve; the members file's own trouble first."""
    found = [state.problem] if state.problem else []
    held = {member.entry.role for member in state.members.values()}
    found += [f"the members file names no {role} engine" for role in state.needed if role not in held]
    return found + [
        f"{member.entry.name} ({member.entry.group}) {trouble}"
        for member in state.members.values()
        if (trouble := _trouble(member))
    ]


def _trouble(member: Member) -> str:
    if not member.alive:
        return f"is out: {member.reason}"
    return "is draining" if member.entry.draining else ""


def members(state: State) -> dict[str, Any]:
    """Everything the router sees, for ``status``. Counts are of the worker that answers: /metrics has all."""
    opened = {role: open_groups(state.candidates(role), role) for role in ROLES}
    return {
        "revision": state.membership.revision,
        "model": state.membership.model,
        "policy": state.policy,
        "problem": state.problem,
        "ready": state.ready(),
        "members": [
            {
                "name": member.entry.name,
                "role": member.entry.role,
                "group": member.entry.group,
                "url": member.entry.url,
                "state": "draining" if member.entry.draining else "serving",
                "alive": member.alive,
                "group_open": member.entry.group in opened[member.entry.role],
                "reason": member.reason,
                "requests": member.requests,
                "tokens": round(member.tokens),
                "running": member.running,
                "waiting": member.waiting,
            }
            for member in state.members.values()
        ],
    }
