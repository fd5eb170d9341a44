"""``model.weights``: every node with engines has the whole model, and the same one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dplaunch.engines import adapter
from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.model.cluster import ClusterSpec
from dplaunch.probes.findings import find_outliers, list_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output, read_last_json
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.probes.weights_script import SCRIPT
from dplaunch.words import format_bytes, plural

NAME = "model.weights"
SIZE, SHA256 = "size", "sha256"
TIMEOUTS = {SIZE: 60.0, SHA256: 3600.0}
"""Seconds. A fast disk takes some minutes to read 700 GB, a slow one an hour."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def make_weights_probe(way: str = "") -> Probe:
    """Return the probe that compares files by ``size`` or ``sha256``; empty: as the cluster file asks.

    Fingerprints of both ways can be compared: ``listing`` is a digest of names and sizes, ``contents`` of the
    files' contents too.
    """

    def commands(target: ProbeTarget, _: EarlierFacts) -> Iterable[Command]:
        own_way = way or target.spec.weights.check
        if (path := _find_path(target)) is not None:
            argv = ("python3", "-c", SCRIPT, path, own_way)
            yield Command(key="weights", argv=argv, timeout=TIMEOUTS[own_way])

    return Probe(name=NAME, commands=commands, parse=_parse, compare=_compare, steady=("listing", "contents"))


def _find_path(target: ProbeTarget) -> str | None:
    """Return the folder to look at; a rehearsal has one only if its cluster file gives ``weights.path``."""
    path = target.spec.weights.path
    if target.has_engines:
        return path
    given = target.engine.rehearsal and path != target.spec.model
    engines = any(process.kind == "engine" for process in target.plan.processes)
    return path if given and engines else None


_KINDS = {"count": int, "bytes": int, "digest": str, "files": list, "folder": bool, "config": str}


def parse_report(text: str) -> dict[str, Any]:
    """Return the report of the script; nothing for other texts."""
    found = read_last_json(clean(text))
    if isinstance(found.get("problem"), str):
        return {"problem": found["problem"]}
    if not all(isinstance(found.get(key), kind) for key, kind in _KINDS.items()):
        return {}
    facts = {key: found[key] for key in _KINDS} | {"files": _parse_rows(found["files"], 2)}
    facts |= {"broken": _parse_rows(found.get("broken"), 3)}
    facts |= {key: _parse_names(found.get(key)) for key in ("missing", "bad_indices")}
    if isinstance(found.get("listing"), str):
        facts["listing"] = found["listing"]
    if isinstance(found.get("model"), dict):
        facts["model"] = found["model"]
    if found.get("way") == SHA256:
        facts["contents"] = found["digest"]
    numbers = ("experts", "missing_count", "broken_count")
    return facts | {key: found[key] for key in numbers if isinstance(found.get(key), int)}


def _parse_rows(value: Any, least: int) -> list[list[Any]]:
    rows = value if isinstance(value, list) else []
    whole = [row for row in rows if isinstance(row, list) and len(row) >= least]
    return [row for row in whole if isinstance(row[0], str) and isinstance(row[1], int)]


def _parse_names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "weights")
    return parse_report(output.out) or {"unread": [describe_unread("weights", output)]}


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    spec = targets[0].spec
    if any(target.has_engines and _find_path(target) is None for target in targets):
        yield _report_name(spec)
    common, others = find_outliers({node: f["digest"] for node, f in seen.items() if "digest" in f})
    usual = next((facts for facts in seen.values() if facts.get("digest") == common), {})
    for node, facts in seen.items():
        yield _judge_node(spec, node, facts, usual if node in others else {})
    yield from _judge_dense(spec, seen.values())
    yield from _judge_model(spec, usual)


def _report_name(spec: ClusterSpec) -> Finding:
    text = f"weights not checked: {spec.model} is a name, and the engines choose the folder of its weights"
    remedy = "give their folder as weights: {path: /…} in the cluster file"
    return Finding(probe=NAME, level=Level.ABSENT, text=text, remedy=remedy)


def _judge_node(spec: ClusterSpec, node: str, facts: Facts, usual: Facts) -> Finding:
    """``usual``: the facts of most nodes, if this node has others."""
    fault = _find_fault(spec, facts) or (_find_difference(facts, usual) if usual else "")
    if fault:
        remedy = f"copy {spec.weights.path} there again from a node that has the whole model"
        return Finding(probe=NAME, level=Level.FAIL, text=fault, node=node, remedy=remedy)
    text = f"{plural(facts['count'], 'file')}, {format_bytes(facts['bytes'])}, digest {facts['digest']}"
    return Finding(probe=NAME, level=Level.OK, text=text, node=node)


def _find_fault(spec: ClusterSpec, facts: Facts) -> str:
    """Return the worst fault of one node's files, without comparing them to other nodes."""
    if "problem" in facts:
        return str(facts["problem"])
    fault = next(_find_faults(spec, facts), "") if facts["folder"] else ""
    return fault and f"{spec.weights.path}: {fault}"


def _find_faults(spec: ClusterSpec, facts: Facts) -> Iterator[str]:
    if facts["config"]:
        yield f"config.json is {facts['config']}"
    if facts["bad_indices"]:
        yield f"{facts['bad_indices'][0]} cannot be read"
    if facts["missing"]:
        count = facts.get("missing_count", len(facts["missing"]))
        yield f"{plural(count, 'file')} missing: {list_some(facts['missing'], 3)}"
    if facts["broken"]:
        yield _describe_broken(facts["broken"][0], facts.get("broken_count", 1))
    if not _holds_weights(facts) and not _loads_otherwise(spec):
        yield f"the folder holds no weights ({', '.join(WEIGHTS)})"


def _describe_broken(row: Sequence[Any], count: int) -> str:
    name, has, should = row[0], row[1], row[2]
    more = f" ({plural(count - 1, 'more file')} like this)" if count > 1 else ""
    if not should:
        return f"{name} is not a safetensors file{more}"
    return f"{name} has {has} bytes instead of {should}{more}"


def _holds_weights(facts: Facts) -> bool:
    names = (row[0] for row in facts["files"])
    return len(facts["files"]) < facts["count"] or any(name.endswith(WEIGHTS) for name in names)


def _loads_otherwise(spec: ClusterSpec) -> bool:
    """``--load-format dummy`` and others need no files that this probe knows."""
    return any("load-format" in role.args for role in spec.roles)


def _find_difference(facts: Facts, usual: Facts) -> str:
    """Return what is wrong with the first file that is not the same as on most nodes."""
    mine, theirs = ({row[0]: row[1:] for row in each["files"]} for each in (facts, usual))
    name = next((n for n in sorted(mine.keys() | theirs.keys()) if mine.get(n) != theirs.get(n)), None)
    if name is None:
        return f"the files differ from those on most nodes ({facts['count']} here, {usual['count']} there)"
    if name not in mine:
        return f"{name} is missing, but most nodes have it"
    if name not in theirs:
        return f"{name} is here, but not on most nodes"
    name_shown = name or "the model's file"
    if mine[name][0] == theirs[name][0]:
        return f"{name_shown} has other contents than on most nodes (sha256)"
    return f"{name_shown} has {mine[name][0]} bytes, but {theirs[name][0]} on most nodes"


def _judge_dense(spec: ClusterSpec, seen: Iterable[Facts]) -> Iterator[Finding]:
    """Find a model without experts in a role with data parallelism over several engines."""
    counts = [facts["experts"] for facts in seen if isinstance(facts.get("experts"), int)]
    by_rank = ("external", "supervisor")
    roles = [role.name for role in spec.roles if role.dp > 1 and role.lb in by_rank]
    dense = adapter(spec.engine.kind).dense(spec)
    if not counts or max(counts) > 1 or not roles or dense is None:
        return
    level = Level.FAIL if dense.refused else Level.WARN
    text = f"the model is dense, but {list_some(roles)} has dp above 1: {dense.effect}"
    remedy = "set dp: 1, and groups to the number of engines"
    yield Finding(probe=NAME, level=level, text=text, remedy=remedy)


def _judge_model(spec: ClusterSpec, facts: Facts) -> Iterator[Finding]:
    """Hold the configuration of the weights against the sizes and flags of the cluster file."""
    model = {**facts.get("model", {}), "experts": facts.get("experts", 0)}
    for problem in adapter(spec.engine.kind).weights(spec, model) if "model" in facts else ():
        level = Level.WARN if problem.warning else Level.FAIL
        yield Finding(probe=NAME, level=level, text=problem.text, remedy=problem.hint)
