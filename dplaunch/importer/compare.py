"""What each process of the source gets, beside what the process of the cluster file in its place gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dplaunch import plan as plans
from dplaunch.engines.adapter import Command
from dplaunch.engines.ascend.env import CONTRACT_A_ONLY
from dplaunch.engines.flags import to_json
from dplaunch.importer import transfer
from dplaunch.importer.arguments import parse, same
from dplaunch.importer.compose import ADDRESSES, HELPERS, INTERFACES, READY, Composed
from dplaunch.importer.engines import FASTDEPLOY, TRANSFER, VISIBLE, Engine, number
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.imported import Difference
from dplaunch.model.plan import Plan
from dplaunch.ranges import grouped

ADDED = "added by dplaunch"
ON_NODE = "found on the node, from its address"
BY_FLAG = {
    "VLLM_DP_SIZE": "data-parallel-size",
    "VLLM_DP_RANK": "data-parallel-rank",
    "VLLM_DP_MASTER_IP": "data-parallel-address",
    "VLLM_DP_MASTER_PORT": "data-parallel-rpc-port",
}
"""How releases after 0.9.1 are given what this one reads from its environment."""
_WORDS = 2
_ENGINES = "args"
"""FastDeploy's separator between its parent's flags and its engines'."""
_LISTS = {"port": "ports", "metrics-port": "metrics-ports"}
_CHANGED = {
    **dict.fromkeys(("data-parallel-address", "master-addr"), "the address of the node of rank 0"),
    "host": "every engine answers on all addresses of its node",
    "router": "the router of the file",
}
_VARIABLES = {
    **dict.fromkeys(VISIBLE, "computed: the devices of each rank"),
    **dict.fromkeys(HELPERS, "only the launcher's own script reads it"),
    **dict.fromkeys((*ADDRESSES, *INTERFACES), ON_NODE),
    READY: "ready_timeout of the file",
    "FD_LOG_DIR": "dplaunch keeps logs in its own folder",
}


def compare(composed: Composed, spec: ClusterSpec, plan: Plan) -> tuple[Difference, ...]:
    """Every difference, those of several processes as one; the ones that nothing explains first."""
    commands, places = plans.commands(spec), composed.places
    ours = {}
    for process in plan.processes:
        if process.seats and process.name in commands:
            seat = process.seats[0]
            key = (process.role, seat.group, seat.rank, seat.part)
            ours[key] = (process.name, process.node, commands[process.name])
    pairs: list[tuple[tuple[str, str | None, str | None, str], str]] = []
    for engine in places.engines:
        found = ours.pop(places.key(engine), None)
        if found is None:
            pairs.append(
                (("process", "started", None, ""), f"{engine.role} rank {engine.rank} on {engine.host}")
            )
            continue
        name, node, command = found
        node_of = places.nodes[engine.host]
        if node != node_of:
            pairs.append((("node", node_of, node, ""), name))
        pairs += [(one, name) for one in _differences(engine, command, composed)]
    pairs += [(("process", None, "started", ""), name) for name, _, _ in ours.values()]
    folded = (Difference(tuple(names), *one) for one, names in grouped(pairs).items())
    return tuple(sorted(folded, key=lambda one: bool(one.why)))


_Found = tuple[str, "str | None", "str | None", str]


def _differences(engine: Engine, command: Command, composed: Composed) -> Iterator[_Found]:
    mine = parse(command.argv[_before_flags(command) :], composed.kind.flags)
    reasons = _Reasons(engine, composed)
    if composed.kind.name == FASTDEPLOY:
        yield from _flags(_as_parent(engine.flags), _as_parent(mine), reasons)
    else:
        yield from _flags(engine.flags, mine, reasons)
    for name, before, after in _uneven(engine.launch.env, command.env):
        yield name, before, after, reasons.variable(name, before, mine)


def _as_parent(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Without FastDeploy's separator; a single port as the list that a parent takes."""
    return {_LISTS.get(name, name): value for name, value in flags.items() if name != _ENGINES}


def _before_flags(command: Command) -> int:
    """Words before the model or the first flag: ``vllm serve``, or ``python3 -m MODULE``."""
    return command.argv.index("-m") + 2 if "-m" in command.argv else _WORDS


def _flags(theirs: Mapping[str, Any], mine: Mapping[str, Any], reasons: _Reasons) -> Iterator[_Found]:
    for name in dict.fromkeys((*theirs, *mine)):
        before, after = theirs.get(name), mine.get(name)
        if name == TRANSFER and isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _fields(f"--{name}", before, after)
        elif not (_equal(theirs, mine, name) or _off(before, after) or reasons.is_variable(name, after)):
            yield f"--{name}", _text(before), _text(after), reasons.flag(name, before, after)


def _equal(theirs: Mapping[str, Any], mine: Mapping[str, Any], key: str) -> bool:
    return key in theirs and key in mine and same(theirs[key], mine[key])


def _off(before: Any, after: Any) -> bool:
    """Both leave a switch off."""
    return before in (None, False) and after in (None, False)


def _fields(path: str, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> Iterator[_Found]:
    """Differences of two maps, field by field."""
    for key in dict.fromkeys((*theirs, *mine)):
        before, after, where = theirs.get(key), mine.get(key), f"{path}.{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _fields(where, before, after)
        elif isinstance(before, list) and isinstance(after, list) and _of_maps(before, after):
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from _fields(f"{where}.{index}", one, other)
        elif not _equal(theirs, mine, key):
            why = transfer.explain(where, before, after) or (ADDED if key not in theirs else "")
            yield where, _text(before), _text(after), why


def _of_maps(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(isinstance(item, Mapping) for item in (*one, *other))


def _uneven(
    theirs: Mapping[str, str], mine: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str | None]]:
    for name in dict.fromkeys((*theirs, *mine)):
        if theirs.get(name) != mine.get(name):
            yield name, theirs.get(name), mine.get(name)


class _Reasons:
    """Why a flag or a variable of one process may differ; an empty text where nothing is known."""

    def __init__(self, engine: Engine, composed: Composed) -> None:
        self._engine, self._composed = engine, composed

    def is_variable(self, name: str, after: Any) -> bool:
        """Whether the source says the same with a variable, which is a difference already."""
        return any(
            flag == name and same(self._engine.launch.env.get(one), after) for one, flag in BY_FLAG.items()
        )

    def flag(self, name: str, before: Any, after: Any) -> str:
        """Of a flag."""
        if before is None:
            return ADDED
        return self._missing(name) if after is None else _CHANGED.get(name, "")

    def _missing(self, name: str) -> str:
        alone = name.startswith("data-parallel-") or name in (
            "nnodes",
            "node-rank",
            "master-addr",
            "master-port",
        )
        if "headless" in self._engine.flags and name in (
            "host",
            "port",
            "api-server-count",
            "served-model-name",
        ):
            return "a process without a server has no use for it"
        if name == "data-parallel-start-rank" and self._engine.rank == 0:
            return "rank 0 is where counting starts"
        if name == "metrics-ports":
            return "this release has its metrics on the port of each server"
        if name.endswith("-parallel-size") and number(self._engine.flags[name], 0) == 1:
            return "1 is the engine's own default"
        whole = len(self._group()) == 1
        if alone and (whole or self._engine.dp == 1):
            return "the process is a whole group by itself, and meets nobody"
        return ""

    def _group(self) -> Sequence[Engine]:
        groups = self._composed.places.order[self._engine.role]
        return next(group for group in groups if self._engine in group)

    def variable(self, name: str, before: str | None, flags: Mapping[str, Any]) -> str:
        """Of a variable; ``flags``: those of the cluster file's process."""
        if before is None and name not in VISIBLE:
            return ADDED
        if name in CONTRACT_A_ONLY:
            return self._by_flag(name, before or "", flags)
        return _VARIABLES.get(name, "")

    def _by_flag(self, name: str, before: str, flags: Mapping[str, Any]) -> str:
        release = f"{self._composed.kind.name} {self._composed.kind.version}"
        flag = BY_FLAG.get(name)
        if flag is None:
            return f"{release} does not read it"
        alone = name != "VLLM_DP_SIZE" and self._engine.dp == 1
        agrees = flag in flags and same(flags[flag], before)
        return f"{release} takes it as --{flag}" if agrees or alone else ""


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (Mapping, list)):
        return to_json(value)
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
