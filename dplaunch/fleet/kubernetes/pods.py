"""What the API server says of a pod → whether it can be entered, and why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from dplaunch.model.kubernetes import CONTAINER, TEMPLATE

HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons for which a container does not start by waiting."""


class PodSeen(Struct, frozen=True, kw_only=True):
    """A pod as the API server describes it. ``why`` is empty where its container runs."""

    name: str
    uid: str
    template: str = ""
    machine: str = ""
    why: str = ""
    hopeless: bool = False
    """It does not come to run by waiting."""
    unplaced: bool = False
    """No machine has what it asks for."""
    leaving: bool = False
    """It is being deleted."""

    @property
    def runs(self) -> bool:
        """It can be entered."""
        return not self.why


def read_pod(pod: Mapping[str, Any]) -> PodSeen:
    """One item of ``kubectl get pods -o json``."""
    meta, status = pod["metadata"], pod.get("status", {})
    leaving = "deletionTimestamp" in meta
    state = _container_state(status)
    waiting = state.get("waiting", {})
    placed = _condition(status, "PodScheduled")
    unplaced = placed.get("status") == "False"
    if leaving:
        why = "it is being deleted"
    elif unplaced:
        why = f"no machine takes it: {placed.get('message') or placed.get('reason', '?')}"
    elif "running" in state:
        why = ""
    else:
        why = _sentence(status, state)
    return PodSeen(
        name=meta["name"],
        uid=meta.get("uid", ""),
        template=meta.get("annotations", {}).get(TEMPLATE, ""),
        machine=pod.get("spec", {}).get("nodeName", ""),
        why=why,
        hopeless=not leaving and waiting.get("reason") in HOPELESS,
        unplaced=unplaced,
        leaving=leaving,
    )


def _container_state(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (one for one in status.get("containerStatuses", ()) if one.get("name") == CONTAINER)
    nothing: Mapping[str, Any] = {}
    state: Mapping[str, Any] = next(found, nothing).get("state", nothing)
    return state


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    nothing: Mapping[str, Any] = {}
    return next((one for one in status.get("conditions", ()) if one.get("type") == kind), nothing)


def _sentence(status: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Why its container does not run: what the kubelet says, the phase at least."""
    for how in ("waiting", "terminated"):
        found = state.get(how)
        if found:
            message = found.get("message", "")
            return f"{found.get('reason', how)}{f': {message}' if message else ''}"
    reason = status.get("reason") or status.get("phase", "Unknown")
    message = status.get("message", "")
    return f"{reason}{f': {message}' if message else ''}"
