"""MindIE's package with a stub in place of deploy_ac_job.py, and what the Ascend Operator does with its objects.

The containers are those of the rehearsal: they print what MindIE prints, and the coordinator's answers.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dplaunch.wire.bundle import bundle

KIND = "ascendjobs.mindxdl.gitee.com"
OUTER = """\
#!/bin/sh
# As the real one: --extract=FOLDER unpacks.
folder=${1#--extract=}
mkdir -p "$folder"
cat > "$folder/Ascend-mindie-service_2.0.RC1_py311_linux-aarch64.run" << 'END'
#!/bin/sh
folder=${1#--extract=}
scripts=$folder/examples/kubernetes_deploy_scripts
mkdir -p "$folder/conf" "$scripts/conf" "$scripts/deployment"
for name in config http_client_ctl ms_controller ms_coordinator; do echo '{}' > "$folder/conf/$name.json"; done
echo '{"mindie_common_env": {}}' > "$scripts/conf/mindie_env.json"
echo 'nodePort: 31015' > "$scripts/deployment/coordinator_init.yaml"
cp SCRIPT "$scripts/deploy_ac_job.py"
END
"""
SCRIPT = """\
import os, sys
os.execv(sys.executable, [sys.executable, "-I", "-S", {bundle!r}, "rehearsal", "deploy_ac_job.py", *sys.argv[1:]])
"""


def package(folder: Path) -> Path:
    """The .run file; it lies beside the bundle and the script that it installs."""
    (folder / "bundle").write_bytes(bundle().data)
    (folder / "deploy_ac_job.py").write_text(SCRIPT.format(bundle=str(folder / "bundle")))
    made = folder / "Ascend-mindie_2.0.RC1_linux-aarch64.run"
    made.write_text(OUTER.replace("SCRIPT", str(folder / "deploy_ac_job.py")))
    return made


@contextmanager
def operator(
    kubectl: Callable[..., str], namespace: str, folder: Path, mounts: Sequence[str], address: str
) -> Iterator[None]:
    """Makes the pods of every AscendJob while it is entered; they are on the machines' network, at ``address``."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.5):
            found = kubectl("get", f"{KIND},services", "-n", namespace, "-o", "json")
            items = json.loads(found)["items"]
            for item in items:
                (folder / f"{item['kind'].lower()}.{item['metadata']['name']}.json").write_text(
                    json.dumps(aged(item))
                )
            pods = [
                pod
                for item in items
                if item["kind"] == "AscendJob"
                for pod in made(item, folder, mounts, address)
            ]
            if pods:
                given = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
                kubectl("apply", "-f", "-", given=given)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def aged(item: dict[str, Any]) -> dict[str, Any]:
    """As the stand-in's store has it: ages are numbers."""
    return {**item, "metadata": {**item["metadata"], "creationTimestamp": 0}}


def made(job: dict[str, Any], folder: Path, mounts: Sequence[str], address: str) -> Iterator[dict[str, Any]]:
    """The pods of a job: a master, and workers."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    owner = {key: job[key] for key in ("apiVersion", "kind")}
    owner |= {"name": name, "uid": job["metadata"]["uid"], "controller": True}
    for part, one in job["spec"]["replicaSpecs"].items():
        for number in range(one["replicas"]):
            pod = f"{name}-{part.lower()}-{number}"
            words = ("rehearsal", "kubectl", str(folder), "logs", "-f", pod)
            wanted = {"huawei.com/Ascend910": "2"} if "server" in name else {}
            container = {
                "name": "ascend",
                "image": "lab.invalid/busybox:1",
                "imagePullPolicy": "Never",
                "command": [sys.executable, "-I", "-S", str(folder / "bundle"), *words],
                "env": [{"name": "DPLAUNCH_REHEARSAL_BIND", "value": address}],
                "resources": {"limits": wanted},
                "volumeMounts": [{"name": f"v{n}", "mountPath": path} for n, path in enumerate(mounts)],
            }
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": pod,
                    "namespace": namespace,
                    "labels": one["template"]["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
                "spec": {
                    "hostNetwork": True,
                    "terminationGracePeriodSeconds": 1,
                    "restartPolicy": "Never",
                    "containers": [container],
                    "volumes": [
                        {"name": f"v{n}", "hostPath": {"path": path}} for n, path in enumerate(mounts)
                    ],
                },
            }
