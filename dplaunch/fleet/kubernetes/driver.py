"""``Pods``: guards in pods. Objects make the pods; guards in them are reached through ``kubectl exec``.

A node without a pod is one on which nothing runs: it is neither reached nor unreached, and observed as empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.guards import GuardedMachines
from dplaunch.fleet.guards.session import Opener
from dplaunch.fleet.kubernetes.examine import examine
from dplaunch.fleet.kubernetes.kubectl import LEADERS, Client
from dplaunch.fleet.kubernetes.pods import PodSeen, read_pod
from dplaunch.model.check import Finding
from dplaunch.model.kubernetes import KubernetesPlan, Pod
from dplaunch.model.observed import Observed, ObservedNode
from dplaunch.model.plan import Plan
from dplaunch.ranges import fold

RUN_WITHIN = 900.0
"""Seconds until all pods must run: the image may have to be pulled."""
PLACED_WITHIN = 60.0
"""Seconds until each pod must have a machine: a pod of before may have to leave it first."""
GONE_WITHIN = 180.0
"""Seconds until deleted objects and their pods must be gone."""
LOOK_EVERY = 1.0
KINDS = "statefulsets,services"


class Pods(GuardedMachines):
    """The driver for a plan whose nodes are pods."""

    def __init__(self, plan: Plan, objects: KubernetesPlan, opener: Opener, client: Client) -> None:
        super().__init__(plan.nodes, opener)
        self._cluster = plan.cluster
        self._objects = objects
        self._client = client
        self._pods: dict[str, Pod] = {node.name: node.pod for node in plan.nodes if node.pod}
        self._absent: set[str] = set()

    @property
    def _kinds(self) -> str:
        led = any(one.kind == "LeaderWorkerSet" for one in self._objects.manifests)
        return f"{KINDS},{LEADERS}" if led else KINDS

    def open(self, names: Iterable[str] | None = None) -> None:
        """Reach every node (or ``names``) whose pod runs; why the others cannot be is in ``unreached``."""
        wanted = list(names or self.names)
        try:
            seen = self._look()
        except DplaunchError as error:
            for name in wanted:
                self._miss(name, error.text, error.hint)
            return
        running = []
        for name in wanted:
            pod = seen.get(self._pods[name].name)
            self._absent.discard(name)
            if pod is None:
                self.unreached.pop(name, None)
                self._absent.add(name)
            elif pod.runs:
                running.append(name)
            else:
                self._miss(name, f"{name}: pod {pod.name} does not run: {pod.why}", self._describe(pod.name))
        if running:
            super().open(running)

    def _miss(self, name: str, text: str, hint: str) -> None:
        self.lose(name, HostError(name, text, hint=hint))
        self.unreached[name] = HostError(name, text, hint=hint)

    def _describe(self, pod: str) -> str:
        return f"`{self._client.shown} describe pod {pod}` says more"

    def _look(self) -> dict[str, PodSeen]:
        """Every pod of the cluster by its name. Raises DplaunchError."""
        found = (read_pod(pod) for pod in self._client.list("pods", self._cluster))
        return {pod.name: pod for pod in found}

    def prepare(self, report: Callable[[str], None]) -> None:
        """Create the objects that are not there and wait until their pods run. Raises DplaunchError.

        What runs already is left as it is: ``put`` replaces a pod that is made from something else.
        """
        self._create(report)
        self._mend()
        self._await(set(self._pods), report)

    def _create(self, report: Callable[[str], None]) -> None:
        """Apply what is missing; report what an earlier file left, or refuse where it is in the way."""
        wanted = {(one.kind, one.name): one for one in self._objects.manifests}
        there = {(o["kind"], o["metadata"]["name"]) for o in self._client.list(self._kinds, self._cluster)}
        makers = {name for kind, name in wanted if kind != "Service"}
        for kind, name in sorted(there - wanted.keys()):
            if kind != "Service" and name in makers:
                text = f"{kind} {name} of an earlier cluster file makes pods of the same names"
                raise DplaunchError(text, hint="run `dplaunch down` first: it deletes both")
            report(f"{kind} {name} is not of this cluster file; `dplaunch down` deletes it")
        for key, manifest in wanted.items():
            if key not in there:
                self._client.apply(manifest)

    def _mend(self) -> None:
        """Replace pods that do not run and are made from something else: nothing ends with them."""
        seen = self._look()
        old = {
            name: pod.name
            for name, pod in self._pods.items()
            if pod.name in seen and not seen[pod.name].runs and seen[pod.name].template != pod.template
        }
        for manifest in self._objects.manifests:
            if not old.keys().isdisjoint(manifest.nodes):
                self._client.apply(manifest)
        if old:
            self._client.delete(("pods", *old.values()))

    def examine(self) -> tuple[Finding, ...]:
        """What is right and wrong with kubectl, the API server, our rights and the machines."""
        return tuple(examine(self._client, self._objects))

    def _await(self, nodes: Collection[str], report: Callable[[str], None], *, new: bool = False) -> None:
        """Wait until the pods of these nodes run; ``new``: made from what the plan says, nothing older."""
        began, told = self.clock(), set[str]()
        while waiting := self._not_running(nodes, new=new):
            for name, pod in waiting.items():
                late = self.clock() - began > (PLACED_WITHIN if pod and pod.unplaced else RUN_WITHIN)
                if late or (pod and pod.hopeless):
                    raise self._will_not_run(name, pod, waiting)
            texts = {f"pod {pod.name}: {pod.why}" for pod in waiting.values() if pod and pod.unplaced}
            for text in sorted(texts - told):
                report(text)
            told |= texts
            self.pause(LOOK_EVERY)

    def _not_running(self, nodes: Collection[str], *, new: bool) -> dict[str, PodSeen | None]:
        seen = self._look()
        found = {name: seen.get(self._pods[name].name) for name in self.names if name in nodes}
        return {
            name: pod
            for name, pod in found.items()
            if pod is None or not pod.runs or (new and pod.template != self._pods[name].template)
        }

    def _will_not_run(
        self, name: str, pod: PodSeen | None, waiting: Mapping[str, PodSeen | None]
    ) -> HostError:
        known = self._pods[name]
        if pod is None:
            hint = f"`{self._client.shown} describe {self._kind_of(name)} {known.workload}` says why"
            return HostError(name, f"{name}: nothing has made pod {known.name}", hint=hint)
        more = sorted(other for other in waiting if other != name)
        others = f"; {fold(more)} wait too" if more else ""
        text = f"{name}: pod {pod.name} does not run: {pod.why}{others}"
        return HostError(
            name, text, hint=f"{self._describe(pod.name)}; `dplaunch down` deletes what was made"
        )

    def _kind_of(self, name: str) -> str:
        return next(one.kind for one in self._objects.manifests if name in one.nodes).lower()

    def put(self, plan: Plan, nodes: Collection[str]) -> dict[str, DplaunchError]:
        """Replace pods that are made from something else, then write files as on machines."""
        try:
            self._replace_pods(nodes)
        except DplaunchError as error:
            return dict.fromkeys(nodes, error)
        return super().put(plan, nodes)

    def _replace_pods(self, nodes: Collection[str]) -> None:
        """Apply every object again, and let those of these pods be made anew that are out of date."""
        seen = self._look()
        old = {
            name: seen[pod.name].uid
            for name, pod in self._pods.items()
            if name in nodes and pod.name in seen and seen[pod.name].template != pod.template
        }
        busy = [p for p in super().observe().processes if p.alive and p.node in old] if old else []
        if busy:
            raise DplaunchError(
                f"{fold(p.name for p in busy)} would end with the pod that is replaced on {busy[0].node}",
                hint="`dplaunch up` restarts everything whose pod changes",
            )
        for manifest in self._objects.manifests:
            self._client.apply(manifest)
        if not old:
            return
        for name in old:
            self.lose(name, HostError(name, f"{name}: its pod is being replaced"))
        self._client.delete(("pods", *(self._pods[name].name for name in old)))
        self._await_end({self._pods[name].name: uid for name, uid in old.items()})
        self._await(old, lambda _: None, new=True)
        self.open(old)
        for name in old:
            if name not in self.sessions:
                raise self._lost(name)

    def _await_end(self, uids: Mapping[str, str]) -> None:
        """Wait until none of these pods is the one it was."""
        deadline = self.clock() + GONE_WITHIN
        while left := [n for n, pod in self._look().items() if n in uids and pod.uid == uids[n]]:
            if self.clock() > deadline:
                raise DplaunchError(f"pod {left[0]} does not go away", hint=self._describe(left[0]))
            self.pause(LOOK_EVERY)

    def observe(self, *, health: bool = False, search: bool = False) -> Observed:
        """What runs in every pod that is reached; nothing where there is no pod."""
        seen = super().observe(health=health, search=search)
        nodes = {node.name: node for node in seen.nodes}
        nodes |= {name: ObservedNode(name=name) for name in self._absent if name not in self.sessions}
        return Observed(nodes=tuple(nodes[n] for n in self.names if n in nodes), unreached=seen.unreached)

    @contextmanager
    def locked(self, holder: str, verb: str) -> Iterator[None]:
        """Hold the lock in every pod that is reached; where there is no pod there is nothing to lock."""
        if not self.sessions and not self.unreached:
            yield
            return
        with super().locked(holder, verb):
            yield

    def forget(self) -> dict[str, DplaunchError]:
        """Delete every object, unless something lives in a pod; node → why its pod is still there."""
        kept = super().forget()
        if kept or any(one.alive for one in super().observe().processes):
            return kept
        try:
            self._delete()
        except DplaunchError as error:
            return dict.fromkeys(self.names, error)
        return self._left()

    def _delete(self) -> None:
        """What makes the pods first, then the pods themselves: nobody has to find out that they are left."""
        for kinds in (self._kinds, "pods"):
            found = [
                (o["kind"].lower(), o["metadata"]["name"]) for o in self._client.list(kinds, self._cluster)
            ]
            if found:
                self._client.delete([f"{kind}/{name}" for kind, name in found])

    def _left(self) -> dict[str, DplaunchError]:
        """Wait until all of it is gone; what is not, by node."""
        deadline = self.clock() + GONE_WITHIN
        for name in list(self.sessions):
            self.lose(name, HostError(name, f"{name}: its pod was deleted"))
        while True:
            pods = self._client.list(f"pods,{self._kinds}", self._cluster)
            if not pods:
                self._absent = set(self.names)
                self.unreached.clear()
                return {}
            if self.clock() > deadline:
                names = {one["metadata"]["name"] for one in pods}
                self.unreached = {
                    name: HostError(
                        name, f"{name}: pod {pod.name} is still there", hint=self._describe(pod.name)
                    )
                    for name, pod in self._pods.items()
                    if pod.name in names
                }
                return dict(self.unreached)
            self.pause(LOOK_EVERY)

    def close(self) -> None:
        """End all sessions, and kubectl's connection."""
        super().close()
        self._client.close()
