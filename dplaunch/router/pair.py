"""A request may name the engines it wants: its header, and who may send it.

``X-Dplaunch-Pair: prefill-0,decode-3`` (one engine where prefill and decode are not split) is how a route is
tested. It defeats balance and fail-over, so it is for the cluster's own people: who shows the API key,
or, where there is none, who asks from the router's own node.
"""

from __future__ import annotations

from collections.abc import Mapping

from .pick import open_groups
from .state import Member, State

HEADER = "X-Dplaunch-Pair"
REACHABLE = ("held", "proving", "serving")
"""States in which an engine takes requests that name it: before it is proved, no others reach it."""

Pair = Mapping[str, Member]
"""Role → the engine that was named for it; empty for a request that names none."""


class PairError(Exception):
    """The engines named cannot be had: ``status``, and one sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def find(header: str, state: State) -> Pair:
    """Return the engines of a header's value; raises ``PairError``."""
    names = [name.strip() for name in header.split(",")]
    unknown = next((name for name in names if name not in state.members), None)
    if unknown is not None:
        raise PairError(404, f'there is no engine "{unknown}" here ({HEADER}); /members lists them')
    members = [state.members[name] for name in names]
    if sorted(member.entry.role for member in members) != sorted(state.needed):
        wanted = " and ".join(f"one {role}" for role in state.needed)
        raise PairError(400, f'{HEADER} takes {wanted} engine, not "{header}"')
    for member in members:
        role, group = member.entry.role, member.entry.group
        if group not in open_groups(state.candidates(role, states=REACHABLE), role):
            raise PairError(503, f"group {group} of {member.entry.name} is out of service; see /health")
    return {member.entry.role: member for member in members}


def named(pair: Pair) -> str:
    """Return the header of the answer: prefill before decode."""
    return ",".join(pair[role].entry.name for role in ("prefill", "decode", "serve") if role in pair)
