"""Turns the chosen cluster file into a plan: reads, loads, checks, builds."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import Struct

from dplaunch import plan as plans
from dplaunch.errors import Problem, UsageError
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import Plan
from dplaunch.ranktable import check_named
from dplaunch.spec import load
from dplaunch.spec.syntax import encoding_hint
from dplaunch.workspace.memory import Pick

ROUTER = Path(__file__).parent.parent / "router"


class Cluster(Struct, frozen=True):
    """A cluster file, its meaning and its plan."""

    spec: ClusterSpec
    plan: Plan
    path: Path
    text: str
    rehearse: bool
    warnings: tuple[Problem, ...] = ()


def load_cluster(pick: Pick, *, rehearse: bool = False) -> Cluster:
    """Load the chosen file and plan it.

    Raises UsageError if the file cannot be read, SpecError with all problems of the file.
    """
    rehearse = rehearse or pick.rehearse
    text, name = read_text(pick), shorten_path(pick.path)
    loaded = load(text, name, read_file=_read_script, check=_check)
    plan = plans.build(
        loaded.spec,
        rehearse=rehearse,
        python=sys.executable,
        router_files=read_router_files(),
        checked=loaded.warnings,
    )
    return Cluster(loaded.spec, plan, pick.path, text, rehearse, loaded.warnings)


def _check(spec: ClusterSpec) -> tuple[Problem, ...]:
    """Return what is wrong with a cluster beyond its file."""
    return (*plans.check(spec), *check_named(spec))


def _read_script(path: str) -> str:
    """Return the text of a user's own script byte for byte: the shell minds how its lines end."""
    with Path(path).expanduser().open(encoding="utf-8", newline="") as file:
        return file.read()


def read_plan(path: Path) -> Plan:
    """Return a plan that ``plan --save`` wrote. Raises UsageError."""
    return plans.load(read_file(path, "save one with `dplaunch plan --save FILE`"), shorten_path(path))


def read_text(pick: Pick) -> str:
    """Return the text of the cluster file, or of its remembered copy if the file itself is gone."""
    path = pick.text_from if pick.text_from and not pick.path.exists() else pick.path
    return read_file(path, "give the path of a cluster file, or write one with `dplaunch init`")


def read_file(path: Path, hint: str, *, as_it_is: bool = False) -> str:
    """Return the text of a file that the user named. Raises UsageError; ``hint`` is for a missing file.

    ``as_it_is``: byte for byte, else lines end as they do everywhere.
    """
    try:
        return path.read_bytes().decode() if as_it_is else path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{shorten_path(path)} does not exist", hint=hint) from error
    except IsADirectoryError as error:
        raise UsageError(f"{shorten_path(path)} is a folder, not a file") from error
    except UnicodeDecodeError as error:
        text = f"{shorten_path(path)} is not UTF-8 text (byte {error.start})"
        raise UsageError(text, hint=encoding_hint(error)) from error
    except OSError as error:
        raise UsageError(f"{shorten_path(path)} cannot be read: {error.strerror}") from error


def read_router_files() -> dict[str, str]:
    """Return the router's sources, which ``up`` sends to its node: path in its package → text."""
    paths = sorted(ROUTER.rglob("*.py"))
    return {path.relative_to(ROUTER).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def shorten_path(path: Path) -> str:
    """Return the path as the user would write it: relative if it is below the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
