"""A job and its pods as kubectl reports them. Pure, but for ``Kubectl``."""

from __future__ import annotations

import json
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Item = dict[str, Any]

PASSING = ("ContainerCreating", "PodInitializing")
"""Reasons for which a container waits and that pass by themselves; others are worth a look."""
PATIENCE = 30.0
"""Seconds that one call may take."""


class LostError(Exception):
    """kubectl did not answer; the text says why."""


class Kubectl:
    """kubectl as it is called here."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def items(self, kinds: str, selector: str) -> list[Item]:
        """The objects of these kinds with a label. Raises LostError."""
        try:
            ran = subprocess.run(
                [*self._words, "get", kinds, "-l", selector, "-o", "json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=PATIENCE,
                check=False,
            )
            if ran.returncode == 0:
                items: list[Item] = json.loads(ran.stdout)["items"]
                return items
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            raise LostError(str(error)) from error
        lines = ran.stderr.decode("utf-8", "replace").strip().splitlines()
        raise LostError(lines[-1] if lines else f"kubectl ended with code {ran.returncode}")

    def follow(self, pod: str, container: str, since: int) -> subprocess.Popen[bytes]:
        """A run that prints a container's log until the container ends: all of it, or of the last seconds."""
        return subprocess.Popen(
            [*self._words, "logs", "-f", pod, "-c", container, *([f"--since={since}s"] if since else ())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


class Pod:
    """One pod. ``launch`` names the run of its container that its log is of; empty: it has not started."""

    def __init__(self, item: Item) -> None:
        status = item.get("status", {})
        found = (status.get("containerStatuses") or [{}])[0]
        state = found.get("state", {})
        self.name: str = item["metadata"]["name"]
        self.container: str = found.get("name", "")
        self.running = "running" in state
        started = self.running or "terminated" in state
        identity = f"{item['metadata'].get('uid', '')}/{found.get('restartCount', 0)}"
        self.launch = identity if started else ""
        self.ready = _condition(status, "Ready").get("status") == "True"
        self.trouble = "" if self.ready else _describe(status, state)
        waits = state.get("waiting", {}).get("reason", PASSING[0]) in PASSING
        placed = _condition(status, "PodScheduled").get("status") != "False"
        self.wrong = not (self.ready or (waits and placed and "terminated" not in state))


def _condition(status: Item, kind: str) -> Item:
    nothing: Item = {}
    return next((one for one in status.get("conditions", ()) if one.get("type") == kind), nothing)


def _describe(status: Item, state: Item) -> str:
    """Why a pod is not ready: what the scheduler or the kubelet says, its phase at least."""
    placed = _condition(status, "PodScheduled")
    if placed.get("status") == "False":
        return f"no machine takes it: {placed.get('message') or placed.get('reason', '?')}"
    for how in ("waiting", "terminated"):
        found = state.get(how)
        if found:
            code = f" with code {found['exitCode']}" if "exitCode" in found else ""
            message = f": {found['message']}" if found.get("message") else ""
            return f"{found.get('reason', how)}{code}{message}"
    return "it runs, but is not ready" if "running" in state else str(status.get("phase", "Unknown"))


class Seen:
    """What one look at a job found."""

    def __init__(self, items: list[Item], job: str) -> None:
        mine = [item for item in items if item.get("kind") == "Pod" and _belongs(item, job)]
        self.pods = sorted(map(Pod, mine), key=lambda pod: pod.name)
        jobs = [
            item
            for item in items
            if item["metadata"]["name"] == job and item.get("kind") not in ("Pod", "ConfigMap")
        ]
        self.there = bool(jobs)
        last = jobs[0].get("status", {}).get("conditions") if jobs else ()
        failed = [one for one in last or () if one.get("type") == "Failed" and one.get("status") == "True"]
        self.failed: str = (failed[0].get("message") or failed[0].get("reason") or "?") if failed else ""

    def trouble(self, wanted: int) -> str:
        """Why the job is not ready; empty where all of its pods are."""
        if not self.there:
            return "the job is not there"
        wrong = [f"pod {pod.name}: {pod.trouble}" for pod in self.pods if not pod.ready]
        if wrong:
            return "; ".join(wrong)
        return "" if len(self.pods) >= wanted else f"{len(self.pods)} of {wanted} pods are there"


def _belongs(item: Item, job: str) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    name: str = item["metadata"]["name"]
    return any(owner.get("name") == job for owner in owners) if owners else name.startswith(f"{job}-")


def deployment(items: list[Item], marker: str) -> str:
    """The digest in the marker; empty where there is no marker."""
    found = (item for item in items if item.get("kind") == "ConfigMap" and item["metadata"]["name"] == marker)
    nothing: Item = {}
    return str(next(found, nothing).get("data", {}).get("digest", ""))
