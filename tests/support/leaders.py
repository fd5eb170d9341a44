"""What the operator of LeaderWorkerSet does for a new object: a headless Service and the pods of each group."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

KIND = "leaderworkersets.leaderworkerset.x-k8s.io"


@contextmanager
def operator(kubectl: Callable[..., str]) -> Iterator[None]:
    """Makes the pods of every LeaderWorkerSet while it is entered. Garbage collection ends them with it."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.5):
            found = json.loads(kubectl("get", KIND, "-A", "-o", "json"))["items"]
            for one in found:
                for made in objects(one):
                    kubectl("apply", "-f", "-", given=json.dumps(made))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def objects(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of a LeaderWorkerSet: its Service, then the leader and the workers of each group."""
    name, spec = one["metadata"]["name"], one["spec"]
    owner = {
        "apiVersion": one["apiVersion"],
        "kind": one["kind"],
        "name": name,
        "uid": one["metadata"]["uid"],
    }
    meta = {"namespace": one["metadata"]["namespace"], "ownerReferences": [owner]}
    label = {"leaderworkerset.sigs.k8s.io/name": name}
    service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": label}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "name": name}, "spec": service}
    template = spec["leaderWorkerTemplate"]["workerTemplate"]
    own = template["metadata"]
    for group in range(spec["replicas"]):
        for worker in range(spec["leaderWorkerTemplate"]["size"]):
            pod = f"{name}-{group}{f'-{worker}' if worker else ''}"
            labels = {**own["labels"], **label}
            named = {**meta, "name": pod, "labels": labels, "annotations": own["annotations"]}
            placed = {**template["spec"], "hostname": pod, "subdomain": name}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": placed}
