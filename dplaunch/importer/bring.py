"""Files of another launcher → a cluster file, with what differs and what could not be carried over."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from msgspec import Struct

from dplaunch import plan as plans
from dplaunch import spec
from dplaunch.errors import Problem, SpecError, UsageError
from dplaunch.importer import compare, profiles, testfiles
from dplaunch.importer.compose import Composed, compose
from dplaunch.importer.engines import recognise, understand
from dplaunch.importer.hosts import read_scripts, read_text
from dplaunch.importer.source import ReadFile, Source
from dplaunch.importer.write import write
from dplaunch.model.imported import Difference, Imported
from dplaunch.ranges import fold
from dplaunch.words import plural

_YAML = (".yaml", ".yml")


class Wanted(Struct, frozen=True):
    """What the user asks for: files, and what these do not say."""

    files: tuple[tuple[str, str], ...]
    """Host (or a range of hosts, or none) and path."""
    name: str = ""
    version: str = ""
    hosts: tuple[str, ...] = ()
    """The nodes, for files that count them and do not name them."""
    out: str = "cluster.yaml"


def bring(wanted: Wanted, read_file: ReadFile) -> Imported:
    """Read the source's files, and compare what they start with what the cluster file made of them starts.

    Raises UsageError where the files start nothing, or something that no cluster file can describe.
    """
    source = read(wanted, read_file)
    kind = recognise(source, wanted.version)
    if not wanted.version:
        text = f"{kind.name} {kind.version} was assumed: {kind.why}"
        source.leave("engine", text, "--engine-version names another", matters=False)
    composed = compose(source, understand(source, kind), kind, wanted.name)
    text = write(composed.document, _head(wanted), _comments(composed))
    problems, differences = _checked(text, wanted.out, composed)
    return Imported(text, len(source.launches), differences, tuple(source.left), problems)


def read(wanted: Wanted, read_file: ReadFile) -> Source:
    """What the files start. Raises UsageError where that is nothing."""
    source = Source()
    for host, path in wanted.files:
        if path.endswith(_YAML):
            _read_yaml(path, wanted, read_file, source)
        else:
            read_scripts(host, path, read_file, source)
    if not source.launches:
        raise UsageError(
            f"{', '.join(path for _, path in wanted.files)}: no engine is started here",
            hint="it reads scripts and command lines with `vllm serve`, and launchers that call such scripts",
        )
    return source


def _read_yaml(path: str, wanted: Wanted, read_file: ReadFile, source: Source) -> None:
    try:
        document = yaml.safe_load(read_text(path, read_file))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    name = path.rpartition("/")[2]
    if isinstance(document, dict) and profiles.recognised(document):
        profiles.read_profiles(document, name, source)
        return
    if not isinstance(document, dict) or not testfiles.recognised(document):
        raise UsageError(
            f"{path} is a YAML file of a form that dplaunch import does not know",
            hint="it reads vllm-ascend's multi-node tests, and omni-infer's server_profiles.yml",
        )
    testfiles.read_tests(document, name, wanted.hosts, source, read_file)


def _checked(text: str, name: str, composed: Composed) -> tuple[tuple[Problem, ...], tuple[Difference, ...]]:
    """Problems of the cluster file, and where it is valid what its processes get otherwise."""
    try:
        loaded = spec.load(text, name, read_file=str, check=plans.check)
    except SpecError as error:
        return error.problems, ()
    plan = plans.build(loaded.spec, checked=loaded.warnings)
    return loaded.warnings, compare.compare(composed, loaded.spec, plan)


def _head(wanted: Wanted) -> Sequence[str]:
    files = fold(path for _, path in wanted.files)
    return (f"Made by `dplaunch import` from {files}.", "`dplaunch explain KEY` describes every key.")


def _comments(composed: Composed) -> dict[str, Sequence[str]]:
    roles, places = composed.document["roles"], composed.places
    counted = [f"{role}: {plural(len(places.of_role(role)), 'process')}" for role in roles]
    found: dict[str, Sequence[str]] = {
        "engine": (f"The version: {composed.kind.why}.",),
        "roles": (f"Ranks, devices and ports are counted from these; {', '.join(counted)}.",),
    }
    if "kv_transfer" in composed.document:
        found["kv_transfer"] = ("kv_role, kv_port and the sizes of both sides are computed.",)
    if "defaults" in composed.document:
        found["defaults"] = ("What all engines have; a role's own entries win.",)
    return found
