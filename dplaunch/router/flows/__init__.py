"""The ways of a request through the engines. The members file names the one that this cluster's engines need.

A flow asks the engines of one try and gives the client their answer. It raises ``EngineError`` when an engine
fails: until the client's answer has begun, ``tries`` may then run it again on other engines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..attempt import Attempt
from . import alone, pull, push

Flow = Callable[[Attempt], Awaitable[None]]

FLOWS: Mapping[str, Flow] = {"alone": alone.run, "pull": pull.run, "push": push.run}


def choose(flow: str, kind: str) -> Flow:
    """Return the flow of requests of ``kind``; what is not a completion goes to one engine, as it is."""
    return alone.run if kind == "other" else FLOWS[flow]
