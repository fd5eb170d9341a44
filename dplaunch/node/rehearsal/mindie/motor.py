"""``deploy_ac_job.py``, which reads the same file and makes the same objects, and its containers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

from ..knobs import Knobs
from ..record import Record
from ..web import Server
from .api import Api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Item = dict[str, Any]

KEEP_ALIVE = 180.0
SIDES = {"p": "prefill", "d": "decode"}
CONFIGMAPS = ("common-env", "boot-bash-script", "global-ranktable", "mindie-ms-coordinator-config")
SECONDS = 1.0
"""That a container takes to load, at speed 1."""


def main() -> int:
    """Deploy what user_config.json says, whatever kubectl says to it; the exit code."""
    with open("user_config.json", encoding="utf-8") as file:
        whole: Item = json.load(file)
    given: Item = whole["deploy_config"]
    if given["model_id"]:
        raise SystemExit("ValueError: first execution, model_id must be empty")
    for name in ("config_p.json", "config_d.json", "ms_controller.json", "ms_coordinator.json"):
        if not os.path.exists(f"conf/{name}"):
            raise SystemExit(f"ValueError: Json file path: './conf/{name}' is not exist!")
    os.makedirs("output/deployment", exist_ok=True)
    space = given["job_id"]
    for name in CONFIGMAPS:
        _kubectl("create", "configmap", name, "--from-literal", "a=b", "-n", space)
    model = whole["mindie_server_prefill_config"]["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0][
        "modelName"
    ]
    port = {"nodePort": _node_port(), "port": 1025}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mindie-ms-coordinator-infer", "labels": {"jobID": space}},
        "spec": {"type": "NodePort", "ports": [port]},
    }
    _apply(
        "mindie_ms_coordinator",
        space,
        _job(f"{space}-coordinator", space, 1, ["coordinator", model]),
        service,
    )
    _apply("mindie_ms_controller", space, _job(f"{space}-controller", space, 1, ["controller"]))
    for side, role in SIDES.items():
        for number in range(given[f"{side}_instances_num"]):
            job = f"mindie-server-{side}{number}"
            _kubectl("create", "configmap", f"{job}-config", "--from-literal", "a=b", "-n", space)
            pods = given[f"single_{side}_instance_pod_num"]
            _apply(f"mindie_server_{side}{number}", space, _job(job, space, pods, ["server", role]))
    _say("Deploy success!")
    _say("all deploy end.")
    return 0


def _node_port() -> int:
    """As the package's file has it, which is changed before the script runs."""
    with open("deployment/coordinator_init.yaml", encoding="utf-8") as file:
        return int(file.read().partition("nodePort: ")[2].split()[0])


def _job(name: str, space: str, pods: int, command: list[str]) -> Item:
    labels = {"jobID": space, "app": f"mindie-ms-{command[0]}"}
    container = {"name": "ascend", "command": command}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    replicas = {"Master": {"replicas": 1, "template": template}}
    if pods > 1:
        replicas["Worker"] = {"replicas": pods - 1, "template": template}
    return {
        "apiVersion": "mindxdl.gitee.com/v1",
        "kind": "AscendJob",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicaSpecs": replicas},
    }


def _apply(name: str, space: str, *items: Item) -> None:
    path = f"output/deployment/{name}.yaml"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": items}, file)
    _kubectl("apply", "-f", path, "-n", space)


def _kubectl(*words: str) -> None:
    ran = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    _say(
        f"Execute command: kubectl {' '.join(words)} \n The command result is: \n {ran.stdout}, {ran.stderr}"
    )


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    sys.stderr.write(f"{stamp},000 - INFO - {text}\n")


def play(container: Item, find: Callable[[str], list[Item]]) -> int:
    """Run a container of a pod until it is ended; the exit code. ``find``: objects of a kind."""
    knobs = Knobs(dict(os.environ), 0, ())
    part, *more = container["command"]
    time.sleep(SECONDS * knobs.speed)
    if part == "coordinator":
        _log("MindIE-MS coordinator is not ready...")
        while len(find("ascendjobs")) < len(("controller", "coordinator", "p0", "d0")):
            time.sleep(0.2)
        time.sleep(SECONDS * knobs.speed)
        _open(more[0], find("services")[0], knobs)
        _log("MindIE-MS coordinator is ready!!!")
    elif part == "server":
        _log("status is completed")
        _log("Daemon start success!")
    while True:
        signal.pause()


def _log(text: str) -> None:
    sys.stdout.write(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}.000+08:00] [1] [1] [ms] [INFO] : {text}\n")
    sys.stdout.flush()


def _open(model: str, service: Item, knobs: Knobs) -> None:
    """Answer at the port that the Service has on every machine."""
    sock = socket.socket(socket.AF_INET6 if ":" in knobs.bind else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((knobs.bind, service["spec"]["ports"][0]["nodePort"]))
    api = Api(model, 1 << 20, knobs.token_ms / 1000, Record(knobs.requests, dict(os.environ)))
    Server(sock, api.handle, KEEP_ALIVE).start()
