"""The container that dplaunch starts on a node: its run command, as a script that also runs by hand."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from dplaunch.model.cluster import NPUS, ClusterSpec, Container, Image, NodeSpec
from dplaunch.model.plan import CONTAINER, File

NPU_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
NPU_MOUNTS = (
    "/usr/local/Ascend/driver",
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/etc/ascend_install.info",
    "/etc/hccn.conf",
)
"""Of the machine: driver and its tools, and the addresses of its NPUs. As in vllm-ascend's documents."""

_STAMP = 16
"""Digits of the script's own SHA-256: what runs is known by it."""
_IN_A_ROW = 4
_HOLD = "trap 'exit 0' TERM; sleep infinity & wait"
"""The first process: it reaps what loses its parent, and ends at once when the container is stopped."""

_HEAD = """\
#!/bin/sh
# Starts the container of {node}, in which everything of {cluster} runs there. Made by dplaunch.
set -eu
state=${{XDG_STATE_HOME:-$HOME/.local/state}}
mkdir -p "$state/dplaunch"
stamp=$(sha256sum <"$0" | cut -c -{length})
image=$({engine} image inspect --format '{{{{.Id}}}}' {reference})
"""


def complete(spec: ClusterSpec, node: NodeSpec) -> tuple[Container | None, tuple[File, ...]]:
    """The container of a node, and the files that start it: none where it is another's."""
    given = spec.container
    if given is None or given.image is None:
        return given, ()
    name = given.name or f"dplaunch-{spec.name}-{node.name}"
    needs = (*_device_files(spec, node), *_own_mounts(spec, given.image))
    container = replace(given, name=name, owner=f"{spec.name}/{node.name}", needs=needs)
    text = _script(spec, node, container)
    stamp = hashlib.sha256(text.encode()).hexdigest()[:_STAMP]
    return replace(container, stamp=stamp), (File(CONTAINER, text, 0o755),)


def _script(spec: ClusterSpec, node: NodeSpec, container: Container) -> str:
    image = container.image or Image(reference="")
    reference = shlex.quote(image.reference)
    names = {"node": node.name, "cluster": spec.name, "engine": container.engine}
    head = _HEAD.format(**names, reference=reference, length=_STAMP)
    words = (*_words(spec, node, container, image), f'{reference} -c "{_HOLD}"')
    return head + f"exec {container.engine} run " + " \\\n  ".join(words) + "\n"


def _words(spec: ClusterSpec, node: NodeSpec, container: Container, image: Image) -> Iterator[str]:
    """Words of the run command, those of one option on one line."""
    yield f"--detach --name {container.name}"
    yield f"--label dplaunch.owner={container.owner}"
    yield '--env DPLAUNCH_CONTAINER="$stamp" --env DPLAUNCH_IMAGE="$image"'
    yield '--env XDG_STATE_HOME="$state" --volume "$state/dplaunch:$state/dplaunch"'
    yield "--network host --uts host"
    yield "--ipc host" if image.shm_size is None else f"--shm-size {image.shm_size}"
    yield from _devices(spec, node, container)
    for path in _own_mounts(spec, image):
        yield f"--mount {shlex.quote(f'type=bind,source={path},target={path},readonly')}"
    for mount in image.mounts:
        yield f"--volume {shlex.quote(mount if ':' in mount else f'{mount}:{mount}')}"
    yield from _joined(image.args)
    yield "--entrypoint sh"


def _devices(spec: ClusterSpec, node: NodeSpec, container: Container) -> Iterator[str]:
    files = _device_files(spec, node)
    for row in range(0, len(files), _IN_A_ROW):
        yield " ".join(f"--device {path}" for path in files[row : row + _IN_A_ROW])
    if spec.hardware.family == "gpu":
        yield "--gpus all" if container.engine == "docker" else "--device nvidia.com/gpu=all"
    if spec.hardware.family != "cpu":  # memory that is registered for RDMA is locked
        yield "--ulimit memlock=-1:-1"


def _device_files(spec: ClusterSpec, node: NodeSpec) -> tuple[str, ...]:
    """From the first device to the last that may be used: so it has the same number inside."""
    if spec.hardware.family not in NPUS:
        return ()
    count = max(node.devices, default=-1) + 1
    return (*(f"/dev/davinci{number}" for number in range(count)), *NPU_DEVICES)


def _own_mounts(spec: ClusterSpec, image: Image) -> tuple[str, ...]:
    """What the file need not name: the driver, and weights at an absolute path."""
    driver = NPU_MOUNTS if spec.hardware.family in NPUS else ()
    weights = [path for path in dict.fromkeys((spec.weights.path, spec.model)) if path and path[0] == "/"]
    given = [target for mount in image.mounts for target in [mount.split(":")[:2][-1].rstrip("/")]]
    return tuple(path for path in (*driver, *weights) if not _covered(path, given))


def _covered(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _joined(words: Iterable[str]) -> Iterator[str]:
    """Each option with its values on one line."""
    line: list[str] = []
    for word in words:
        if word.startswith("-") and line:
            yield shlex.join(line)
            line = []
        line.append(word)
    if line:
        yield shlex.join(line)
