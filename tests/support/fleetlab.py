"""Eight machines of the lab dressed as Ascend nodes: stub tools, drivers, packages and weights, all healthy.

A test undresses one thing and asks what ``check`` says. ``dress`` makes a host whole again.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from lab import HOME, Lab, LabHost
from npustub import NpuStub

from dplaunch.engines import facts
from dplaunch.probes.engine_flags import END, list_flags
from dplaunch.workspace import Pick, load_cluster

DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
WEIGHTS = f"{HOME}/weights"
DEVICES = 2
"""Devices per node: what is asked of one is asked of each, and every call takes its time."""

FILE = """\
cluster: checked
engine: {kind: vllm-ascend, version: "0.23.0"}
model: %(weights)s
served_model_name: tiny
ssh: {connect_timeout: 2s}
hardware: atlas-800t-%(family)s
nodes:
%(nodes)s
runtime:
  setup: ["export ASCEND_TOOLKIT_HOME=$HOME/own/cann"]
  python: engine-python
roles:
  prefill: {nodes: "n[1-4]", groups: 4, dp: 2, tp: 1}
  decode: {nodes: "n[5-8]", dp: 8}
kv_transfer: {connector: MooncakeConnectorV1}
router: {node: n1, port: 8000}
"""

CAT = f"""#!/bin/sh
# The host's own files stand below ~/own: those of /etc and of the driver cannot be changed here.
for word; do
    shift
    [ ! -e "{HOME}/own$word" ] || word="{HOME}/own$word"
    case $word in /usr/local/Ascend/*|/etc/hccn.conf) word="{HOME}/own$word" ;; esac
    set -- "$@" "$word"
done
exec /bin/cat "$@"
"""
PYTHON = f"""#!/bin/sh
case "$*" in *importlib.metadata*) exec /bin/cat {HOME}/own/packages ;; esac
exec {sys.executable} "$@"
"""
VLLM = f"""#!/bin/sh
exec /bin/cat {HOME}/own/help
"""
PACKAGES = {
    "vllm": "0.23.0",
    "vllm-ascend": "0.23.0",
    "torch": "2.10.0",
    "torch_npu": "2.10.0.post4",
    "transformers": "4.57.1",
    "mooncake": "0.3.11.post1",
}
DRIVER = "Version=25.0.rc1.1\ncompatible_version_fw=[7.0.0,7.7.99]\npackage_version=25.0.rc1.1\n"
FIRMWARE = "Version=7.7.0.1.231\nfirmware_version=1.0\npackage_version=25.0.rc1.1\n"
CANN = "package_name=Ascend-cann-toolkit\nversion=9.1.0\narch=aarch64\nos=linux\n"
SHARDS = {"model-00001-of-00002.safetensors": 2000, "model-00002-of-00002.safetensors": 1000}


class CheckedLab:
    """The operator's shell in a lab of eight dressed hosts; ``check()`` is what ``dplaunch check`` found."""

    def __init__(self, lab: Lab, family: str) -> None:
        self.lab, self.family = lab, family
        self.write()
        for host in lab.hosts.values():
            self.dress(host)

    def write(self, text: str = "", **nodes: str) -> None:
        """cluster.yaml anew; ``nodes`` replace entries, ``text`` comes last."""
        entries = {
            f"n{n}": f"{{name: n{n}, host: 192.0.2.{n}, devices: {DEVICES}}}" for n in range(1, 9)
        } | nodes
        listed = "\n".join(f"  - {entry}" for entry in entries.values())
        whole = FILE % {"nodes": listed, "family": self.family, "weights": WEIGHTS} + text
        self.lab.path("~/cluster.yaml").write_text(whole)

    def npu(self, host: LabHost) -> NpuStub:
        """The stub tools of a host."""
        return NpuStub(host.path("~"), self.family, host.number, seen_as=HOME)

    def dress(self, host: LabHost) -> None:
        """Everything as on a healthy node."""
        host.run(["umount", "-q", "/proc/meminfo"])
        for name in ("answers", "own", "bin", "weights", ".local/state"):
            shutil.rmtree(host.path(f"~/{name}"), ignore_errors=True)
        stub = self.npu(host).install()
        for name, script in (("cat", CAT), ("engine-python", PYTHON), ("vllm", VLLM)):
            host.stub(name, script)
        put(host, "etc/hccn.conf", (stub.folder / "hccn.conf").read_text())
        put(host, "usr/local/Ascend/driver/version.info", DRIVER)
        put(host, "usr/local/Ascend/firmware/version.info", FIRMWARE)
        put(host, "cann/ascend_toolkit_install.info", CANN)
        put(host, "packages", json.dumps({"packages": PACKAGES}) + "\n")
        put(host, "help", help_text(self.lab.path("~/cluster.yaml")))
        weights(host)

    def check(self, *words: str) -> Any:
        """What ``check -o json`` says; its exit code is kept as ``code``."""
        done = self.lab.run([DPLAUNCH, "check", "-o", "json", *words], timeout=120)
        assert done.stdout.startswith("{"), done.stderr
        return {**json.loads(done.stdout), "code": done.returncode}

    def wrong(self, *words: str) -> list[dict[str, Any]]:
        """Findings that are not ok."""
        return [one for one in self.check(*words)["findings"] if one["level"] in ("fail", "warn")]


def put(host: LabHost, path: str, text: str) -> None:
    """A file of the host, below ~/own."""
    file = host.path(f"~/own/{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def weights(host: LabHost) -> None:
    """A small model that is whole."""
    folder = host.path(WEIGHTS)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "deepseek_v3", "n_routed_experts": 256}))
    places = {f"layer.{n}": name for n, name in enumerate(SHARDS)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    for name, size in SHARDS.items():
        (folder / name).write_bytes(shard(size))


def shard(size: int) -> bytes:
    """A safetensors file of so many bytes of one tensor."""
    tensor = {"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    head = json.dumps(tensor).encode()
    return len(head).to_bytes(8, "little") + head + bytes(size)


def help_text(cluster: Path) -> str:
    """What an engine prints that knows every flag of the plan."""
    plan = load_cluster(Pick(cluster)).plan
    help_ = facts("vllm-ascend").help
    assert help_
    flags = dict.fromkeys((help_.sure, *list_flags(plan.processes)))
    return "".join(f"  {flag} VALUE\n" for flag in flags) + f"{END}\n"
