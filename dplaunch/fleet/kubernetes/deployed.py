"""``Deployed``: guards on a control node, and pods that an engine's own program makes from there.

The processes on the control node only stand for the pods, and these end with them: their objects are deleted
where the processes stop, before anything is deployed anew, and at the end of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.guards import GuardedMachines
from dplaunch.fleet.guards.session import Opener
from dplaunch.fleet.kubernetes.kubectl import CONTROL, PATIENCE, Caller
from dplaunch.fleet.kubernetes.needs import examine, judge_package
from dplaunch.model.check import Finding
from dplaunch.model.cluster import SecretRef
from dplaunch.model.kubernetes import Deployment
from dplaunch.model.observed import Observed, ObservedProcess, State
from dplaunch.model.plan import Place, Plan
from dplaunch.model.remote import StartResult, StopVerdict
from dplaunch.ranges import fold
from dplaunch.transport import Ran

GONE_WITHIN = 300.0
"""Seconds until deleted objects and their pods must be gone: servers have a grace of a minute."""
LOOK_EVERY = 1.0


class OnNode(Caller):
    """kubectl on a node that a driver reaches."""

    def __init__(self, deployment: Deployment, machines: GuardedMachines) -> None:
        super().__init__(deployment.kubectl)
        self.where = f"on {deployment.node}"
        self._node = deployment.node
        self._machines = machines

    def call(self, words: Sequence[str], given: str = "", patience: float = PATIENCE) -> Ran:
        """Run kubectl there. Raises HostError where the node is lost, or has no kubectl."""
        del given
        (ran,) = self._machines.execute([self._node], (*self.kubectl.words, *words), patience)
        if ran.code is None:
            hint = "kubectl must be on the control node, or kubernetes.kubectl name it"
            raise HostError(CONTROL, f"{self._node}: {ran.problem}", hint=hint)
        return Ran(ran.code, ran.out, ran.err)


class Deployed(GuardedMachines):
    """The driver for a plan with a deployment."""

    def __init__(self, plan: Plan, deployment: Deployment, opener: Opener) -> None:
        super().__init__(plan.nodes, opener)
        self._deployment = deployment
        self._job = (deployment.node, deployment.process)
        self._rehearsal = plan.rehearsal
        self._stand_for = {p.place for p in plan.processes if p.kind == "engine"}
        self._client = OnNode(deployment, self)

    def examine(self) -> tuple[Finding, ...]:
        """What is right and wrong with the Kubernetes cluster and the package."""
        node = self._deployment.node
        if self._rehearsal or node not in self.reached:
            return ()

        def run(argv: Sequence[str]) -> Ran:
            (ran,) = self.execute([node], argv, PATIENCE)
            return Ran(1 if ran.code is None else ran.code, ran.out, ran.err or ran.problem)

        return (*judge_package(run, self._deployment), *examine(self._client, self._deployment))

    def observe(self, *, health: bool = False, search: bool = False) -> Observed:
        """What runs on the node. A job whose objects are not all there any more is not done."""
        seen = super().observe(health=health, search=search)
        nodes = (
            replace(n, processes=tuple(self._judge(p, n.clock) for p in n.processes)) for n in seen.nodes
        )
        return replace(seen, nodes=tuple(nodes))

    def _judge(self, process: ObservedProcess, now: float) -> ObservedProcess:
        if process.place != self._job or process.state is not State.DONE or not self._lacks():
            return process
        return replace(process, state=State.EXITED, ended_at=now, how="lost")

    def _lacks(self) -> bool:
        """Something is missing; False where kubectl does not answer."""
        kinds = ",".join(dict.fromkeys(one.kind for one in self._deployment.objects))
        try:
            there = {
                name.partition("/")[2] for name in self._client.need(("get", kinds, "-o", "name")).split()
            }
        except DplaunchError:
            return False
        return not there.issuperset(one.name for one in self._deployment.objects)

    def start(
        self,
        plan: Plan,
        places: Collection[Place],
        secrets: Mapping[SecretRef, str],
        beside: Mapping[Place, float] = MappingProxyType({}),
    ) -> tuple[StartResult, ...]:
        """Start these processes. What is deployed from other settings, or half, is deleted before.

        Raises DplaunchError where the namespace holds what is not this cluster's.
        """
        if self._job in places and not self._is_found_again():
            self._need_own_namespace()
            left = self._clear()
            if left:
                raise DplaunchError(
                    f"{left[0]}, and has to go before anything is deployed anew", hint=self._look_at(left)
                )
        return super().start(plan, places, secrets, beside)

    def _is_found_again(self) -> bool:
        """All of it is there as planned, and the job that made it is unknown here: its state was lost."""
        seen = {process.place: process.state for process in super().observe().processes}
        if seen.get(self._job, State.FOREIGN) is not State.FOREIGN:
            return False
        if self._owner() != (self._deployment.cluster, self._deployment.digest):
            return False
        return not self._lacks()

    def _owner(self) -> tuple[str, str] | None:
        """Cluster and digest of what is deployed; None where nothing is, or not by us."""
        if self._rehearsal and not self._has_kubectl():
            return None
        marker = f"configmap/{self._deployment.marker}"
        form = "jsonpath={.data.cluster} {.data.digest}"
        cluster, _, digest = (
            self._client.need(("get", marker, "--ignore-not-found", "-o", form)).strip().partition(" ")
        )
        return (cluster, digest) if cluster else None

    def _has_kubectl(self) -> bool:
        """A rehearsal's is put there by the first start."""
        return self.read(self._deployment.node, self._deployment.kubectl.program).text is not None

    def _need_own_namespace(self) -> None:
        deployed, owner = self._deployment, self._owner()
        where = f"namespace {deployed.kubectl.namespace}"
        other = "kubernetes.namespace names another one"
        if owner is not None and owner[0] != deployed.cluster:
            raise DplaunchError(
                f"{where} holds the deployment of cluster {owner[0]}",
                hint=f"end that one with `dplaunch down {owner[0]}`; {other}",
            )
        if owner is None and (found := self._labelled()):
            raise DplaunchError(
                f"{where} holds {fold(found)}, which dplaunch did not make",
                hint=f"delete them with the engine's own script; {other}",
            )

    def _labelled(self) -> list[str]:
        """``pod/NAME`` of all that has the label, without the marker."""
        words = ("get", self._deployment.kinds, "-l", self._deployment.selector, "-o", "name")
        names = self._client.need(words).split()
        return [name for name in names if name != f"configmap/{self._deployment.marker}"]

    def stop(
        self, places: Iterable[Place], grace: float, take: Callable[[StopVerdict], None], *, patient: bool
    ) -> tuple[StopVerdict, ...]:
        """Stop these; with what stands for pods, and runs, these end too. What stays is left of the last one.

        One that has died on the control node is only swept: its pods serve on.
        """
        wanted = list(places)
        running = {process.place for process in super().observe().processes if process.runs}
        last = next((place for place in reversed(wanted) if place in self._stand_for & running), None)

        def pass_on(verdict: StopVerdict) -> None:
            if (verdict.node, verdict.process) != last:
                take(verdict)

        verdicts = super().stop(wanted, grace, pass_on, patient=patient)
        return tuple(
            self._with_pods(verdict, take) if (verdict.node, verdict.process) == last else verdict
            for verdict in verdicts
        )

    def _with_pods(self, verdict: StopVerdict, take: Callable[[StopVerdict], None]) -> StopVerdict:
        try:
            left = self._clear()
        except DplaunchError as error:
            left = (error.text,)
        whole = replace(verdict, left=(*verdict.left, *left))
        take(whole)
        return whole

    def forget(self) -> dict[str, DplaunchError]:
        """Delete all that is deployed, then drop the state; the node and why, where some of it stays."""
        node = self._deployment.node
        if node not in self.reached:
            return super().forget()
        try:
            left = self._clear()
        except DplaunchError as error:
            return {node: error}
        return {node: DplaunchError(left[0], hint=self._look_at(left))} if left else super().forget()

    def _clear(self) -> tuple[str, ...]:
        """Delete this cluster's deployment and wait until it is gone; what is still there, as sentences.

        The marker goes last: as long as it is there, whatever is left is found again.
        """
        owner = self._owner()
        if owner is None or owner[0] != self._deployment.cluster:
            return ()
        self._client.delete(
            [*self._labelled(), *(f"{one.kind}/{one.name}" for one in self._deployment.further)]
        )
        deadline = self.clock() + GONE_WITHIN
        while names := self._labelled():
            if self.clock() > deadline:
                return tuple(f"{name.replace('/', ' ')} is still there" for name in names)
            self.pause(LOOK_EVERY)
        self._client.delete((f"configmap/{self._deployment.marker}",))
        return ()

    def _look_at(self, left: Sequence[str]) -> str:
        kind, name, *_ = left[0].split()
        return f"`{self._client.shown} describe {kind} {name}` says what keeps it"
