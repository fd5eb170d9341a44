"""kubectl as a client: words and JSON in, JSON out. It runs on one host: this machine or a control node."""

from __future__ import annotations

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dplaunch.errors import DplaunchError, HostError
from dplaunch.model.kubernetes import CLUSTER_LABEL, Kubectl, Manifest
from dplaunch.transport import Host, Ran, run

CONTROL = "kubectl"
"""What errors call the place where kubectl runs, in the place of a node."""
PATIENCE = 60.0
"""Seconds that one call may take."""
LEADERS = "leaderworkersets.leaderworkerset.x-k8s.io"
APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=dplaunch")
Object = Mapping[str, Any]

_KNOWN = (
    (
        ("command not found", "executable file not found", ": not found", "no such file or directory"),
        "there is no kubectl",
        "install it there, or name it with kubernetes.kubectl",
    ),
    (
        (
            "was refused",
            "unable to connect",
            "no such host",
            "i/o timeout",
            "no configuration has been provided",
        ),
        "the API server cannot be reached",
        "`{kubectl} version` must answer; kubernetes.context and kubeconfig choose the cluster",
    ),
    (
        ("does not exist", "no context exists"),
        "kubectl knows no such context",
        "`{program} config get-contexts` lists them; correct kubernetes.context",
    ),
    (
        ("you must be logged in", "unauthorized"),
        "the API server does not accept the login",
        "log in again; `{kubectl} auth can-i get pods` must answer yes",
    ),
)


class Caller(ABC):
    """kubectl, wherever it runs."""

    where = ""
    """In messages: ``on n1``."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl

    @abstractmethod
    def call(self, words: Sequence[str], given: str = "", patience: float = PATIENCE) -> Ran:
        """Run kubectl, whatever comes of it. Raises HostError where it cannot run."""

    def need(self, words: Sequence[str], given: str = "") -> str:
        """What kubectl prints. Raises DplaunchError with what it says is wrong."""
        ran = self.call(words, given)
        if ran.code != 0:
            raise self.error(words, ran)
        return ran.out

    def list(self, kinds: str, cluster: str) -> tuple[Object, ...]:
        """The cluster's objects of these kinds (``pods,services``)."""
        out = self.need(("get", kinds, "-l", f"{CLUSTER_LABEL}={cluster}", "-o", "json"))
        return tuple(parse(out).get("items", ()))

    def apply(self, manifest: Manifest) -> None:
        """Create or change one object, and read it back. Raises DplaunchError naming the object.

        Applied by the server: what it does not accept it refuses, and fields of others are taken over.
        """
        what = f"{manifest.kind} {manifest.name}"
        ran = self.call((*APPLY, "-o", "json", "-f", "-"), manifest.text)
        if ran.code != 0:
            raise self.refused(what, ran)
        made = parse(ran.out)
        kept = made.get("kind"), made.get("metadata", {}).get("name")
        if kept != (manifest.kind, manifest.name):
            look = f"`{self.shown} get {manifest.kind.lower()} {manifest.name} -o yaml`"
            raise DplaunchError(
                f"{what} was applied, but the API server answered with {kept[0]} {kept[1]}",
                hint=f"{look} shows what is there",
            )

    def delete(self, words: Sequence[str]) -> None:
        """Delete objects without waiting for their end. Raises DplaunchError."""
        self.need(("delete", *words, "--ignore-not-found", "--wait=false"))

    def refused(self, what: str, ran: Ran) -> DplaunchError:
        """The error of an object that the API server does not take."""
        known = self._known(ran)
        if known is not None:
            return known
        said = _last_line(ran.err)
        return DplaunchError(
            f"the API server refused {what}: {said}",
            hint="correct the section kubernetes of the cluster file; `dplaunch render` writes what was sent",
            detail=tuple(ran.err.strip().splitlines()[-8:]),
        )

    def error(self, words: Sequence[str], ran: Ran) -> DplaunchError:
        """Why a call failed."""
        text = f"kubectl {words[0]} failed: {_last_line(ran.err)}"
        hint = f"run `{self.shown} {shlex.join(words)}` to see it"
        return self._known(ran) or DplaunchError(
            text, hint=hint, detail=tuple(ran.err.strip().splitlines()[-8:])
        )

    def _known(self, ran: Ran) -> HostError | None:
        printed = ran.err.lower()
        for marks, what, hint in _KNOWN:
            if any(mark in printed for mark in marks):
                return HostError(
                    CONTROL,
                    f"{what} {self.where}: {_last_line(ran.err)}",
                    hint=hint.format(kubectl=self.shown, program=self.kubectl.program),
                )
        return None

    @property
    def shown(self) -> str:
        """The beginning of a command line that a user may type."""
        return shlex.join(self.kubectl.words)


class Client(Caller):
    """kubectl on a host, which is reached at the first call."""

    def __init__(self, kubectl: Kubectl, reach: Callable[[], Host]) -> None:
        super().__init__(kubectl)
        self._reach = reach
        self._host: Host | None = None

    def call(self, words: Sequence[str], given: str = "", patience: float = PATIENCE) -> Ran:
        """Run kubectl, whatever comes of it. Raises HostError where its host is lost."""
        if self._host is None:
            self._host = self._reach()
            self.where = f"on {self._host.label}"
        return run(self._host, (*self.kubectl.words, *words), given=given, patience=patience)

    def close(self) -> None:
        """End the connection."""
        if self._host is not None:
            self._host.close()
            self._host = None


def parse(out: str) -> dict[str, Any]:
    """The object that kubectl printed. Raises DplaunchError."""
    try:
        found = json.loads(out)
    except ValueError as error:
        raise DplaunchError(
            f"kubectl printed what is not JSON: {out[:80]!r}", hint="kubectl --version must be 1.20 or newer"
        ) from error
    if not isinstance(found, dict):
        raise DplaunchError(f"kubectl printed {type(found).__name__}, not an object: {out[:80]!r}")
    return found


def _last_line(err: str) -> str:
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (
        (errors or lines or ["it printed nothing"])[-1].removeprefix("error: ").removeprefix("Error: ")[:300]
    )
