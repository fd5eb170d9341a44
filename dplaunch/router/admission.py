"""Who may come in: the key, the right to name engines, and whether the cluster serves at this moment.

``X-Dplaunch-Pair: prefill-0,decode-3`` (one engine where prefill and decode are not split) is how a route is
tested. It defeats balance and fail-over, so it is for the cluster's own people: who shows the API key,
or, where there is none, who asks from the router's own node.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import report
from .address import is_own
from .keys import OWN, Keys
from .metrics import Metrics
from .pick import open_groups
from .request import HEADER, Pair
from .state import State

RETRY_AFTER = "2"
"""Seconds; two health checks."""
REACHABLE = ("held", "proving", "serving")
"""States in which an engine takes requests that name it: before it is proved, no others reach it."""


class Refused(Exception):  # noqa: N818 - the client's fault, or the cluster's
    """The request is answered here, with ``status`` and one sentence."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}


class Admission:
    """Asked for each request before it goes to the engines."""

    def __init__(self, keys: Keys, state: State, metrics: Metrics) -> None:
        self._keys = keys
        self._state = state
        self._metrics = metrics

    def identify(self, headers: Mapping[str, str]) -> str:
        """Return whose key the headers show, empty where none is asked for. Raises ``Refused``."""
        name = self._keys.name_of(headers) if self._keys.guarded else ""
        if self._keys.guarded and not name:
            raise Refused(401, "the API key is missing or wrong", {"WWW-Authenticate": "Bearer"})
        return name

    def find_pair(self, header: str | None, client: str, peer: str) -> Pair:
        """Return the engines that a client at ``peer`` names. Raises ``Refused`` unless it may have them."""
        if header is None:
            return {}
        if not (client == OWN or is_own(peer)):
            raise Refused(403, f"{HEADER} is for requests with the API key, or from the router's own node")
        return find(header, self._state)

    def check_served(self, pair: Pair) -> None:
        """Raise ``Refused`` unless every needed role serves, or the request names its engines."""
        if not pair and not self._state.ready():
            raise self.unserved()

    def unserved(self) -> Refused:
        """Return the answer to a request that no group can take."""
        self._metrics.count("dprouter_unserved_total")
        why = "; ".join(report.reasons(self._state)[:5]) or "no group serves"
        return Refused(503, f"not every needed role serves: {why}", {"Retry-After": RETRY_AFTER})


def find(header: str, state: State) -> Pair:
    """Return the engines of a header's value; raises ``Refused``."""
    names = [name.strip() for name in header.split(",")]
    unknown = next((name for name in names if name not in state.members), None)
    if unknown is not None:
        raise Refused(404, f'there is no engine "{unknown}" here ({HEADER}); /members lists them')
    members = [state.members[name] for name in names]
    if sorted(member.entry.role for member in members) != sorted(state.needed):
        wanted = " and ".join(f"one {role}" for role in state.needed)
        raise Refused(400, f'{HEADER} takes {wanted} engine, not "{header}"')
    for member in members:
        role, group = member.entry.role, member.entry.group
        if group not in open_groups(state.candidates(role, states=REACHABLE), role):
            raise Refused(503, f"group {group} of {member.entry.name} is out of service; see /health")
    return {member.entry.role: member for member in members}
