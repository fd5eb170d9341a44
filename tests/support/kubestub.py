"""A kubectl whose cluster is a folder: objects are files, pods are processes of this machine.

``install(folder, addresses)`` writes the program. A pod runs what ``exec`` starts, with its own state home and
address, and its processes end with it. Nothing takes a pod with a node selector; an image called ``refused``
is one that the API server does not take.
"""

import contextlib
import json
import os
import signal
import sys
import uuid
from pathlib import Path

MARK = "STUB_POD"


def install(folder: Path, addresses: dict[str, str]) -> Path:
    """The program for ``kubernetes.kubectl``; ``addresses``: pod → address on this machine."""
    folder.mkdir(parents=True)
    (folder / "addresses.json").write_text(json.dumps(addresses))
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} "$@"\n')
    program.chmod(0o755)
    return program


class Cluster:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def objects(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.object"))]

    def pods(self) -> list[dict]:
        sets = [one for one in self.objects() if one["kind"] == "StatefulSet"]
        return [self._pod(one, number) for one in sets for number in range(one["spec"]["replicas"])]

    def _pod(self, owner: dict, number: int) -> dict:
        name, template = f"{owner['metadata']['name']}-{number}", owner["spec"]["template"]
        made = self.folder / f"{name}.pod"
        if not made.exists():
            made.write_text(json.dumps({"uid": uuid.uuid4().hex, "metadata": template["metadata"]}))
        kept = json.loads(made.read_text())
        status = {"containerStatuses": [{"name": "engine", "state": {"running": {}}}], "phase": "Running"}
        if "nodeSelector" in template["spec"]:
            message = "0/2 nodes are available: 2 node(s) didn't match node selector."
            status = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
        return {
            "kind": "Pod",
            "metadata": {**kept["metadata"], "name": name, "uid": kept["uid"]},
            "status": status,
        }

    def find(self, kinds: str) -> list[dict]:
        wanted = {kind.partition(".")[0].rstrip("s") for kind in kinds.split(",")}
        every = [*self.objects(), *self.pods()]
        return [one for one in every if one["kind"].lower() in wanted]

    def apply(self, one: dict) -> dict:
        container = one["spec"].get("template", {}).get("spec", {}).get("containers", [{}])[0]
        if container.get("image") == "refused":
            sys.exit(
                'The StatefulSet is invalid: spec.template.spec.containers[0].image: Invalid value: "refused"'
            )
        (self.folder / f"{one['kind']}-{one['metadata']['name']}.object").write_text(json.dumps(one))
        return one

    def delete(self, kind: str, name: str) -> None:
        for path in self.folder.glob("*.object"):
            if path.stem.lower() == f"{kind}-{name}":
                path.unlink()
        if kind.startswith("pod"):
            (self.folder / f"{name}.pod").unlink(missing_ok=True)
            kill(f"{self.folder}/{name}")

    def run(self, pod: str, argv: list[str]) -> None:
        if pod not in {one["metadata"]["name"] for one in self.pods()}:
            sys.exit(f'Error from server (NotFound): pods "{pod}" not found')
        address = json.loads((self.folder / "addresses.json").read_text())[pod]
        uid = json.loads((self.folder / f"{pod}.pod").read_text())["uid"]
        state = {"XDG_STATE_HOME": str(self.folder / uid), MARK: f"{self.folder}/{pod}", "POD_IP": address}
        os.execvpe(argv[0], argv, {**os.environ, **state})


def kill(mark: str) -> None:
    """End every process of a pod, as the end of its container does."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ends while it is looked at
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def answer(cluster: Cluster, words: list[str]) -> object:
    """What a verb prints as JSON; None where it prints nothing."""
    verb = words[0]
    if verb == "version":
        return {"serverVersion": {"gitVersion": "v1.33.0"}}
    if verb == "apply":
        return cluster.apply(json.load(sys.stdin))
    if verb == "get" and words[1] == "nodes":
        status = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"huawei.com/Ascend910": "8"},
        }
        return {"kind": "List", "items": [{"metadata": {"name": f"m{n}"}, "status": status} for n in (1, 2)]}
    if verb == "get":
        return {"kind": "List", "items": cluster.find(words[1])}
    if verb == "delete":
        kind = ""
        for word in words[1:]:
            if "/" in word:
                cluster.delete(*word.split("/"))
            elif not kind:
                kind = word
            elif not word.startswith("-"):
                cluster.delete(kind, word)
    return None


def main() -> None:
    words = sys.argv[2:]
    while words[0].startswith("--"):
        words = words[2:]
    cluster = Cluster(Path(sys.argv[1]))
    if words[0] == "exec":
        cluster.run(words[2], words[words.index("--") + 1 :])
    found = answer(cluster, words)
    if found is not None:
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
