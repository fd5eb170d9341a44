"""From the file that is meant to a plan: read, load, check, build."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dplaunch import plan as plans
from dplaunch.errors import Problem, SpecError, UsageError
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import Plan
from dplaunch.spec import load
from dplaunch.workspace.memory import Pick

ROUTER = Path(__file__).parent.parent / "router"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster file and what follows from it."""

    spec: ClusterSpec
    plan: Plan
    path: Path
    text: str
    rehearse: bool
    warnings: tuple[Problem, ...] = ()


def load_cluster(pick: Pick, *, rehearse: bool = False) -> Cluster:
    """Load and plan. Raises UsageError when there is no file, SpecError with all its problems at once."""
    rehearse = rehearse or pick.rehearse
    text = read_text(pick)
    loaded = load(text, shown(pick.path), read_file=lambda path: Path(path).read_text(encoding="utf-8"))
    checked = plans.check(loaded.spec)
    located = _once(map(loaded.locate, checked))
    found = tuple(sorted((*loaded.warnings, *located), key=lambda p: (p.line, p.column)))
    if any(not problem.warning for problem in checked):
        raise SpecError(found)
    plan = plans.build(
        loaded.spec,
        rehearse=rehearse,
        python=sys.executable,
        router_files=router_files(),
        checked=found,
    )
    return Cluster(loaded.spec, plan, pick.path, text, rehearse, found)


def _once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once: what stands under defaults, or for a range, was seen for everyone it is for."""
    first: dict[tuple[int, int, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.line, problem.column, problem.text), problem)
    return tuple(first.values())


def read_plan(path: Path) -> Plan:
    """A plan saved by ``plan --save``. Raises UsageError."""
    return plans.load(read_file(path, "save one with `dplaunch plan --save FILE`"), shown(path))


def read_text(pick: Pick) -> str:
    """The cluster file's text; the remembered copy's when the file of the current cluster is gone."""
    path = pick.text_from if pick.text_from and not pick.path.exists() else pick.path
    return read_file(path, "give the path of a cluster file, or write one with `dplaunch init`")


def read_file(path: Path, hint: str) -> str:
    """A text file the user named. Raises UsageError; ``hint`` is for a file that is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {shown(path)}", hint=hint) from error
    except IsADirectoryError as error:
        raise UsageError(f"{shown(path)} is a folder, not a file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown(path)} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{shown(path)} cannot be read: {error.strerror}") from error


def router_files() -> dict[str, str]:
    """Return the router's sources, which ``up`` puts beside the engines: path in its package → text."""
    paths = sorted(ROUTER.rglob("*.py"))
    return {path.relative_to(ROUTER).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def shown(path: Path) -> str:
    """The path as the user would write it: relative when it lies below here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
