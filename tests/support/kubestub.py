"""A kubectl whose cluster is a folder: objects are files, pods are processes of this machine.

``install(folder)`` writes the program. StatefulSets and LeaderWorkerSets make pods; a pod runs what ``exec`` starts,
with a state home and an address of its own, and its processes end with it. There are two machines of eight
devices each: a pod that asks for more has no machine. Of images, ``refused`` is one that the API server does not
take, and ``missing`` one that no registry has.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

MARK = "STUB_POD"
RESOURCE, DEVICES = "huawei.com/Ascend910", 8
MACHINES = ("m1", "m2")
LEADERS = "leaderworkersets.leaderworkerset.x-k8s.io"


def install(folder: Path, addresses: Mapping[str, str] | None = None, lib: Path | None = None) -> Path:
    """The program for ``kubernetes.kubectl``.

    ``addresses``: pod → its address on this machine, 127.0.0.1 where it has none. ``lib``: guards that every pod has already.
    """
    folder.mkdir(parents=True)
    (folder / "addresses.json").write_text(json.dumps(dict(addresses or {})))
    if lib:
        (folder / "lib").symlink_to(lib)
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {folder} "$@"\n')
    program.chmod(0o755)
    return program


class Cluster:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def objects(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.object"))]

    def pods(self) -> list[dict]:
        return [self._pod(name, template) for one in self.objects() for name, template in makes(one)]

    def _pod(self, name: str, template: dict) -> dict:
        """A pod as it was made: with the labels and annotations of that time."""
        path = self.folder / f"{name}.pod"
        if not path.exists():
            mine = path.with_suffix(f".{os.getpid()}")
            mine.write_text(json.dumps({"uid": os.urandom(16).hex(), **template}))
            with contextlib.suppress(FileExistsError):  # another kubectl was faster
                path.hardlink_to(mine)
            mine.unlink()
        made = json.loads(path.read_text())
        meta = {**made["metadata"], "name": name, "uid": made["uid"]}
        return {"kind": "Pod", "metadata": meta, "status": status(made["spec"]["containers"][0])}

    def find(self, kinds: str) -> list[dict]:
        wanted = {kind.partition(".")[0].rstrip("s") for kind in kinds.split(",")}
        every = [*self.objects(), *self.pods()]
        return [one for one in every if one["kind"].lower() in wanted]

    def apply(self, one: dict) -> dict:
        name = f"{one['kind']} {one['metadata']['name']}"
        if any(template["spec"]["containers"][0]["image"] == "refused" for _, template in makes(one)):
            sys.exit(
                f'The {name} is invalid: spec.template.spec.containers[0].image: Invalid value: "refused"'
            )
        self._file(*name.split()).write_text(json.dumps(one))
        return one

    def delete(self, kind: str, name: str) -> None:
        """An object and the pods that it makes; a pod alone is made again."""
        lost = [name]
        if not kind.startswith("pod"):
            file = self._file(kind, name)
            lost = [pod for pod, _ in makes(json.loads(file.read_text()))] if file.exists() else []
            file.unlink(missing_ok=True)
        for pod in lost:
            (self.folder / f"{pod}.pod").unlink(missing_ok=True)
            kill(f"{self.folder}/{pod}")

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind.lower()}-{name}.object"

    def run(self, pod: str, argv: list[str]) -> None:
        """Become what a pod runs."""
        if pod not in {one["metadata"]["name"] for one in self.pods()}:
            sys.exit(f'Error from server (NotFound): pods "{pod}" not found')
        address = json.loads((self.folder / "addresses.json").read_text()).get(pod, "127.0.0.1")
        home = self.folder / json.loads((self.folder / f"{pod}.pod").read_text())["uid"]
        state = home / "dplaunch"
        if not state.exists() and (self.folder / "lib").exists():
            home.mkdir(mode=0o700)
            state.mkdir(mode=0o700)
            (state / "lib").symlink_to((self.folder / "lib").resolve())
        own = {"XDG_STATE_HOME": str(home), MARK: f"{self.folder}/{pod}", "POD_IP": address}
        os.execvpe(argv[0], argv, {**os.environ, **own})


def makes(one: dict) -> Iterator[tuple[str, dict]]:
    """The names of an object's pods, and what each is made from."""
    name, spec = one["metadata"]["name"], one.get("spec", {})
    if one["kind"] == "StatefulSet":
        for number in range(spec["replicas"]):
            yield f"{name}-{number}", spec["template"]
    if one["kind"] == "LeaderWorkerSet":
        group = spec["leaderWorkerTemplate"]
        for number in range(spec["replicas"]):
            for worker in range(group["size"]):
                yield f"{name}-{number}{f'-{worker}' if worker else ''}", group["workerTemplate"]


def status(container: dict) -> dict:
    """Of a pod with this container."""
    wanted = int(container.get("resources", {}).get("limits", {}).get(RESOURCE, 0))
    if wanted > DEVICES:
        message = f"0/{len(MACHINES)} nodes are available: {len(MACHINES)} Insufficient {RESOURCE}."
        return {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
    state: dict = {"running": {}}
    if container["image"] == "missing":
        message = 'Back-off pulling image "missing"'
        state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    return {"containerStatuses": [{"name": container["name"], "state": state}], "phase": "Running"}


def kill(mark: str) -> None:
    """End every process of a pod, as the end of its container does."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ends while it is looked at
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def a_machine(name: str) -> dict:
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name},
        "status": {"conditions": ready, "allocatable": {RESOURCE: str(DEVICES)}},
    }


def get(cluster: Cluster, what: str, *words: str) -> object:
    """A list of objects."""
    if what == "nodes":
        return {"kind": "List", "items": [a_machine(name) for name in MACHINES]}
    if what == "crd" and words[0] != LEADERS:
        sys.exit(f'Error from server (NotFound): customresourcedefinitions "{words[0]}" not found')
    return {"kind": "List", "items": cluster.find(what)}


def delete(cluster: Cluster, *words: str) -> None:
    """``KIND/NAME …`` or ``KIND NAME …``."""
    names = [word for word in words if not word.startswith("-")]
    if "/" not in names[0]:
        kind = names.pop(0)
        names = [f"{kind}/{name}" for name in names]
    for name in names:
        cluster.delete(*name.split("/"))


def answer(cluster: Cluster, verb: str, *words: str) -> object:
    """What a verb prints as JSON; None where it prints nothing."""
    if verb == "version":
        return {"serverVersion": {"gitVersion": "v1.33.0"}}
    if verb == "apply":
        return cluster.apply(json.load(sys.stdin))
    if verb == "get":
        return get(cluster, *words)
    if verb == "delete":
        delete(cluster, *words)
    return None


def main() -> None:
    words = sys.argv[2:]
    while words[0].startswith("--"):
        words = words[2:]
    cluster = Cluster(Path(sys.argv[1]))
    if words[0] == "exec":
        cluster.run(words[2], words[words.index("--") + 1 :])
    found = answer(cluster, *words)
    if found is not None:
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
