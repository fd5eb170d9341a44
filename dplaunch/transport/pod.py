"""A pod as a host: its commands run through ``kubectl exec``, on this machine or on a control node."""

from __future__ import annotations

from collections.abc import Sequence

from dplaunch.errors import HostError
from dplaunch.model.kubernetes import Pod
from dplaunch.transport.failures import NOT_FOUND, missing_program
from dplaunch.transport.host import SILENCE, Host
from dplaunch.transport.stream import Pipe

# What kubectl exec prints (lower case) → what that means, what to do. The first that fits counts.
_PRINTED = (
    (
        ("executable file not found", "no such file or directory"),
        "the image of {pod} has no {program}",
        "use an image with Python 3.8 or newer, or correct runtime.python",
    ),
    (
        ('pods "{name}" not found',),
        "{pod} is gone",
        "run `dplaunch up`",
    ),
    (
        (
            "container not found",
            "container is not created or running",
            "cannot exec into a container in a completed pod",
        ),
        "{pod} has no running container",
        "`{kubectl} describe pod {name}` says why",
    ),
    (
        ("forbidden",),
        "you may not run commands in {pod}",
        "ask for the right to create pods/exec in that namespace; `{kubectl} auth can-i create pods/exec`",
    ),
    (
        ("unable to connect to the server", "was refused", "no route to host", "i/o timeout"),
        "the way to {pod} is broken",
        "`{kubectl} get pods` must answer",
    ),
)


class PodHost(Host):
    """Commands run in the pod; ``outside`` is where kubectl runs."""

    def __init__(self, pod: Pod, outside: Host, *, silence: float = SILENCE) -> None:
        super().__init__(outside.node, label=f"{outside.node} (pod {pod.name})", silence=silence)
        self._pod = pod
        self._outside = outside

    def _open(self, argv: Sequence[str]) -> Pipe:
        return self._outside.start((*self._pod.prefix, *argv))

    def close(self) -> None:
        """Ends the connection and what runs over it."""
        self._outside.close()

    def _explain(self, argv: Sequence[str], code: int, err: str) -> HostError:
        printed, kubectl = err.lower(), " ".join(self._pod.kubectl.words)
        names = {
            "pod": f"pod {self._pod.name}",
            "name": self._pod.name,
            "program": argv[0],
            "kubectl": kubectl,
        }
        if code == NOT_FOUND and f"{self._pod.kubectl.program}: " in err:  # the shell's own words
            return missing_program(self.node, self.label, self._pod.kubectl.program, err)
        for marks, sentence, hint in _PRINTED:
            if any(mark.format(name=self._pod.name) in printed for mark in marks):
                text = f"{self.node}: {sentence.format(**names)}"
                return HostError(
                    self.node, text, hint=hint.format(**names), detail=tuple(err.strip().splitlines()[-3:])
                )
        return super()._explain(argv, code, err)
