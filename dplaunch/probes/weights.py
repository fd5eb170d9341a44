"""``model.weights``: on every node with engines the model is there, whole, and the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dplaunch.engines import adapter
from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.model.cluster import ClusterSpec
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.surroundings import engine, has_engines
from dplaunch.probes.weights_script import SCRIPT
from dplaunch.probes.words import answer, clean, last_json, odd_ones, shown_list, unread, unread_finding
from dplaunch.words import format_bytes

NAME = "model.weights"
SIZE, SHA256 = "size", "sha256"
TIMEOUTS = {SIZE: 60.0, SHA256: 3600.0}
"""Seconds. Reading 700 GB takes a fast disk some minutes, a slow one the hour."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def weights(way: str = "") -> Probe:
    """The probe; ``way``: how files are compared, ``size`` or ``sha256``; empty is as the cluster file says.

    Fingerprints of both ways can be compared: ``listing`` is of names and sizes, ``contents`` of all.
    """

    def commands(target: Target, seen: Seen) -> Iterable[Command]:
        del seen
        chosen = way or target.spec.weights.check
        if (path := _path(target)) is not None:
            argv = ("python3", "-c", SCRIPT, path, chosen)
            yield Command(key="weights", argv=argv, timeout=TIMEOUTS[chosen])

    return Probe(name=NAME, commands=commands, parse=_parse, judge=_judge, steady=("listing", "contents"))


def _path(target: Target) -> str | None:
    """Where to look; a rehearsal has weights only where its cluster file says so on purpose."""
    path = target.spec.weights.path
    if has_engines(target):
        return path
    asked = engine(target).rehearsal and path != target.spec.model
    engines = any(process.kind == "engine" for process in target.plan.processes)
    return path if asked and engines else None


_KINDS = {"count": int, "bytes": int, "digest": str, "files": list, "folder": bool, "config": str}


def report(text: str) -> dict[str, Any]:
    """What the script said; empty when it is not what the script says."""
    found = last_json(clean(text))
    if isinstance(found.get("problem"), str):
        return {"problem": found["problem"]}
    if not all(isinstance(found.get(key), kind) for key, kind in _KINDS.items()):
        return {}
    facts = {key: found[key] for key in _KINDS} | {"files": _rows(found["files"], 2)}
    facts |= {"broken": _rows(found.get("broken"), 3)}
    facts |= {key: _names(found.get(key)) for key in ("missing", "bad_indices")}
    if isinstance(found.get("listing"), str):
        facts["listing"] = found["listing"]
    if found.get("way") == SHA256:
        facts["contents"] = found["digest"]
    numbers = ("experts", "missing_count", "broken_count")
    return facts | {key: found[key] for key in numbers if isinstance(found.get(key), int)}


def _rows(value: Any, least: int) -> list[list[Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, list) and len(row) >= least and _is_row(row)]


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _is_row(row: list[Any]) -> bool:
    return isinstance(row[0], str) and isinstance(row[1], int)


def _parse(target: Target, outputs: Outputs) -> Facts:
    del target
    output = answer(outputs, "weights")
    return report(output.out) or {"unread": [unread("weights", output)]}


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    if not targets:
        return
    spec = targets[0].spec
    if not seen and any(has_engines(target) for target in targets):
        yield _unknown_place(spec)
    common, odd = odd_ones({node: f["digest"] for node, f in seen.items() if "digest" in f})
    usual = next((facts for facts in seen.values() if facts.get("digest") == common), {})
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if not facts.get("unread"):
            yield _judged(spec, node, facts, usual if node in odd else {})
    yield from _dense(spec, seen.values())


def _unknown_place(spec: ClusterSpec) -> Finding:
    text = f"{spec.model} is a name: where engines find its weights is up to them"
    remedy = "weights: {path: /…} in the cluster file makes check look at them"
    return Finding(probe=NAME, level=Level.ABSENT, text=text, remedy=remedy)


def _judged(spec: ClusterSpec, node: str, facts: Facts, usual: Facts) -> Finding:
    """``usual``: what most nodes have, where this node has something else."""
    fault = _fault(spec, facts) or (_difference(facts, usual) if usual else "")
    if fault:
        remedy = f"copy {spec.weights.path} there again from a node that has it whole"
        return Finding(probe=NAME, level=Level.FAIL, text=fault, node=node, remedy=remedy)
    text = f"{facts['count']} files, {format_bytes(facts['bytes'])}, {facts['digest']}"
    return Finding(probe=NAME, level=Level.OK, text=text, node=node)


def _fault(spec: ClusterSpec, facts: Facts) -> str:
    """What is wrong with one node's files whatever others have; the worst alone."""
    if "problem" in facts:
        return str(facts["problem"])
    fault = next(_faults(spec, facts), "") if facts["folder"] else ""
    return fault and f"{spec.weights.path}: {fault}"


def _faults(spec: ClusterSpec, facts: Facts) -> Iterator[str]:
    if facts["config"]:
        yield f"config.json is {facts['config']}"
    if facts["bad_indices"]:
        yield f"{facts['bad_indices'][0]} cannot be read"
    if facts["missing"]:
        count = facts.get("missing_count", len(facts["missing"]))
        yield f"{_files(count)} missing: {shown_list(facts['missing'], 3)}"
    if facts["broken"]:
        yield _cut(facts["broken"][0], facts.get("broken_count", 1))
    if not _holds_weights(facts) and not _loads_otherwise(spec):
        yield f"no weights in it: no file of {', '.join(WEIGHTS)}"


def _files(count: int) -> str:
    return f"{count} file{'s' if count > 1 else ''}"


def _cut(row: Sequence[Any], count: int) -> str:
    name, has, should = row[0], row[1], row[2]
    more = f", and {_files(count - 1)} more" if count > 1 else ""
    if not should:
        return f"{name} is no safetensors file{more}"
    return f"{name} has {has} bytes of {should}{more}"


def _holds_weights(facts: Facts) -> bool:
    names = (row[0] for row in facts["files"])
    return len(facts["files"]) < facts["count"] or any(name.endswith(WEIGHTS) for name in names)


def _loads_otherwise(spec: ClusterSpec) -> bool:
    """``--load-format dummy`` and its like want no files that we know of."""
    return any("load-format" in role.args for role in spec.roles)


def _difference(facts: Facts, usual: Facts) -> str:
    """The first file that is not as on most nodes."""
    mine, theirs = ({row[0]: row[1:] for row in each["files"]} for each in (facts, usual))
    name = next((n for n in sorted(mine.keys() | theirs.keys()) if mine.get(n) != theirs.get(n)), None)
    if name is None:
        return f"not the same files as on the other nodes: {facts['count']}, there {usual['count']}"
    if name not in mine:
        return f"{name} is missing, the other nodes have it"
    if name not in theirs:
        return f"{name} is here, and not on the other nodes"
    shown = name or "the model's file"
    if mine[name][0] == theirs[name][0]:
        return f"{shown} differs from the other nodes' in what it holds (sha256)"
    return f"{shown} has {mine[name][0]} bytes, on the other nodes {theirs[name][0]}"


def _dense(spec: ClusterSpec, seen: Iterable[Facts]) -> Iterator[Finding]:
    """A model without experts whose ranks are to be load-balanced from outside."""
    counts = [facts["experts"] for facts in seen if isinstance(facts.get("experts"), int)]
    roles = [role.name for role in spec.roles if role.dp > 1]
    dense = adapter(spec.engine.kind).dense(spec)
    if not counts or max(counts) > 1 or not roles or dense is None:
        return
    level = Level.FAIL if dense.refused else Level.WARN
    text = f"the model is dense, and {shown_list(roles)} has dp above 1: {dense.effect}"
    remedy = "dp: 1, and groups: as many engines as there should be"
    yield Finding(probe=NAME, level=level, text=text, remedy=remedy)
