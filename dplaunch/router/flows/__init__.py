"""The ways of a request through the engines. The members file names the one that this cluster's engines need.

A flow asks the engines of one try and gives the client their answer. It raises ``EngineError`` when an engine
fails: until the client's answer has begun, ``tries`` may then run it again on other engines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..attempt import Attempt
from ..request import PROMPTS
from . import alone, pull, push

Flow = Callable[[Attempt], Awaitable[None]]

FLOWS: Mapping[str, Flow] = {"alone": alone.run, "pull": pull.run, "push": push.run}


def choose(flow: str, kind: str) -> Flow:
    """Return the flow of requests of ``kind``; what has no prompt goes to one engine, as it is."""
    if kind == "tokens":
        return alone.run_first
    return FLOWS[flow] if hands_over(flow, kind) else alone.run


def hands_over(flow: str, kind: str) -> bool:
    """Whether requests of ``kind`` go through all engines of ``flow``.

    Pushed KV finds its request by the id in its header, which /v1/responses does not use.
    """
    return kind in PROMPTS.values() and (flow, kind) != ("push", "responses")
