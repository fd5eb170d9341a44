"""Our files for deployments of vLLM-Ascend's own multi-node tests start what those start.

``internal/flags.json`` holds the flags of each: those of every process, and each node's own.
"""

import json
from pathlib import Path

import pytest

from dplaunch import plan, spec

FOLDER = Path(__file__).parent / "internal"
FLAGS = json.loads((FOLDER / "flags.json").read_text())

BY_VERSION = {"disable-access-log-for-endpoints", "shutdown-timeout", "served-model-name"}
"""What ours adds."""
NO_SERVER = {"host", "port"}
"""Some of theirs give these to a process without a server."""
MEETING = {"data-parallel-address", "data-parallel-rpc-port", "data-parallel-start-rank"}
"""Some of theirs give these to a process that is a whole group: it meets nobody."""


def parsed(words):
    """Flag → value: JSON decoded, numbers as numbers; ``--no-x`` is x: False."""
    flags, name = {}, ""
    for word in words:
        if word.startswith("--"):
            name = word[2:].replace("_", "-")
            flags[name.removeprefix("no-")] = not name.startswith("no-")
        else:
            try:
                flags[name] = json.loads(word)
            except ValueError:
                flags[name] = word
    return flags


def comparable(flags):
    """Without what follows from defaults, or differs in a way that no engine notices."""
    alone = flags["data-parallel-size"] == flags["data-parallel-size-local"]
    dropped = BY_VERSION | (NO_SERVER if "headless" in flags else set()) | (MEETING if alone else set())
    kept = {name: value for name, value in flags.items() if name not in dropped}
    if kept.get("data-parallel-start-rank") == 0:
        del kept["data-parallel-start-rank"]
    kept.get("kv-transfer-config", {}).pop("kv_port", None)  # one base for all groups of a role will do
    return kept


def ours(name):
    path = FOLDER / f"{name}.yaml"
    found = spec.load(path.read_text(), str(path), read_file=str).spec
    commands = plan.commands(found)
    by_node = {p.node: commands[p.name] for p in plan.build(found).processes if p.kind == "engine"}
    return [(node.address, parsed(by_node[node.name].argv[3:])) for node in found.nodes]


@pytest.mark.parametrize("name", FLAGS)
def test_every_node_is_started_with_the_flags_of_their_test(name):
    master = ""
    for own, (address, flags) in zip(FLAGS[name]["node"], ours(name), strict=True):
        wanted = {**FLAGS[name]["every"], **own}
        master = master if "headless" in wanted else address
        wanted |= {"data-parallel-address": master}
        wanted.setdefault("data-parallel-rpc-port", flags.get("data-parallel-rpc-port"))
        assert comparable(flags) == comparable(wanted)


def test_all_29_deployments_are_compared():
    assert len(FLAGS) == 29
    assert set(FLAGS) == {path.stem for path in FOLDER.glob("*.yaml")}
