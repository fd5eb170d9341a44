"""Objects as JSON files, and the pods that follow from jobs."""

from __future__ import annotations

import contextlib
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..knobs import Knobs

    Item = dict[str, Any]

SECONDS = 1.0
"""From a pod's making until it is ready, at speed 1."""
SHORT = {"cm": "configmap", "acjob": "ascendjob", "svc": "service"}


def singular(kind: str) -> str:
    """``configmap`` for all names of a kind: ConfigMap, configmaps, cm, ascendjobs.mindxdl.gitee.com."""
    name = kind.partition(".")[0].lower()
    name = SHORT.get(name, name)
    if name.endswith("classes"):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith("class") else name


class Store:
    """The folder."""

    def __init__(self, folder: str, knobs: Knobs) -> None:
        self.folder = folder
        self._knobs = knobs

    def find(self, kinds: str, selector: str = "", name: str = "") -> list[Item]:
        """Objects of these kinds, with this label, of this name."""
        wanted = [singular(kind) for kind in kinds.split(",")]
        found = [item for item in self._all() if singular(item["kind"]) in wanted]
        key, _, value = selector.partition("=")
        return [
            item
            for item in found
            if (not name or item["metadata"]["name"] == name)
            and (not key or item["metadata"].get("labels", {}).get(key) == value)
        ]

    def write(self, item: Item) -> None:
        """Create or change an object."""
        os.makedirs(self.folder, exist_ok=True)
        item["metadata"].setdefault("creationTimestamp", time.time())
        path = self._path(item["kind"], item["metadata"]["name"])
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(item, file)
        os.replace(f"{path}.new", path)

    def delete(self, kind: str, name: str) -> bool:
        """Remove an object, with the pods of a job; whether it was there."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._path(kind, name))
            return True
        return False

    def _path(self, kind: str, name: str) -> str:
        return os.path.join(self.folder, f"{singular(kind)}.{name}.json")

    def _all(self) -> list[Item]:
        items: list[Item] = []
        for entry in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else ():
            if entry.endswith(".json"):
                with contextlib.suppress(OSError), open(os.path.join(self.folder, entry)) as file:
                    items.append(json.load(file))
        return items + [
            pod for item in items if "replicaSpecs" in item.get("spec", {}) for pod in self._pods(item)
        ]

    def _pods(self, job: Item) -> list[Item]:
        replicas = job["spec"]["replicaSpecs"].items()
        return [
            self._pod(job, f"{job['metadata']['name']}-{part.lower()}-{number}", one["template"])
            for part, one in replicas
            for number in range(one["replicas"])
        ]

    def _pod(self, job: Item, name: str, template: Item) -> Item:
        meta = job["metadata"]
        ready = time.time() - meta["creationTimestamp"] > SECONDS * self._knobs.speed
        state = {
            "name": template["spec"]["containers"][0]["name"],
            "restartCount": 0,
            "state": {"running": {}},
        }
        conditions = [{"type": "Ready", "status": str(ready)}]
        status: Item = {"phase": "Running", "containerStatuses": [state], "conditions": conditions}
        if name == self._knobs.setting("UNPLACED"):
            message = "0/2 nodes are available: 2 Insufficient devices."
            conditions = [{"type": "PodScheduled", "status": "False", "message": message}]
            status = {"phase": "Pending", "conditions": conditions}
        owner = {"kind": job["kind"], "name": meta["name"], "controller": True}
        return {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "uid": f"{name}/{meta['creationTimestamp']}",
                "labels": meta.get("labels", {}),
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
            "status": status,
        }
