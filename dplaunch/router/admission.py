"""Who may come in: the key, the right to name engines, and whether the cluster serves at this moment."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from . import report
from .address import is_own
from .metrics import Metrics
from .pair import HEADER, Pair, PairError, find
from .state import State

RETRY_AFTER = "2"
"""Seconds; two health checks."""


class Refused(Exception):  # noqa: N818 - the client's fault, or the cluster's
    """The request is answered here, with ``status`` and one sentence."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}


class Admission:
    """Asked for each request before it goes to the engines."""

    def __init__(self, api_key: str, state: State, metrics: Metrics) -> None:
        self._key = f"Bearer {api_key}".encode() if api_key else b""
        self._state = state
        self._metrics = metrics

    def check_key(self, authorization: str) -> None:
        """Raise ``Refused`` unless the header shows the key, if there is one."""
        given = authorization.encode(errors="surrogateescape")
        if self._key and not hmac.compare_digest(given, self._key):
            raise Refused(401, "the API key is missing or wrong", {"WWW-Authenticate": "Bearer"})

    def find_pair(self, header: str | None, peer: str) -> Pair:
        """Return the engines that a client at ``peer`` names. Raises ``Refused`` unless it may have them."""
        if header is None:
            return {}
        if not (self._key or is_own(peer)):
            raise Refused(403, f"{HEADER} is for requests with the API key, or from the router's own node")
        try:
            return find(header, self._state)
        except PairError as error:
            raise Refused(error.status, str(error)) from None

    def check_served(self, pair: Pair) -> None:
        """Raise ``Refused`` unless every needed role serves, or the request names its engines."""
        if not pair and not self._state.ready():
            raise self.unserved()

    def unserved(self) -> Refused:
        """Return the answer to a request that no group can take."""
        self._metrics.count("dprouter_unserved_total")
        why = "; ".join(report.reasons(self._state)[:5]) or "no group serves"
        return Refused(503, f"not every needed role serves: {why}", {"Retry-After": RETRY_AFTER})
