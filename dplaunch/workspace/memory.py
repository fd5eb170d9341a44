"""Chooses the cluster file, and remembers the clusters that were started from here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from dplaunch.errors import UsageError

HERE = "cluster.yaml"


class Pick(Struct, frozen=True):
    """The chosen cluster file. ``rehearse`` is remembered from the ``up`` that made the cluster current."""

    path: Path
    rehearse: bool = False
    text_from: Path | None = None
    """The remembered copy, which is read if the file itself is gone."""


class Known(Struct, frozen=True):
    """A cluster that was started and not stopped yet."""

    cluster: str
    file: str
    copy: str
    """Where the text of the file is kept."""
    rehearse: bool
    since: float
    """Seconds since the epoch."""

    @property
    def pick(self) -> Pick:
        """Its file, or the copy where the file is gone."""
        return Pick(Path(self.file), rehearse=self.rehearse, text_from=Path(self.copy))


class Memory:
    """What this machine remembers about clusters, in ``<state home>/dplaunch/.operator/``."""

    def __init__(self, environ: Mapping[str, str], cwd: Path) -> None:
        self._environ = environ
        self._cwd = cwd

    @property
    def folder(self) -> Path:
        """Below ``$XDG_STATE_HOME`` or ``~/.local/state``; the leading dot keeps it apart from clusters'."""
        given = self._environ.get("XDG_STATE_HOME")
        home = Path(self._environ.get("HOME", "~")).expanduser()
        return (Path(given) if given else home / ".local" / "state") / "dplaunch" / ".operator"

    def pick(self, given: str | None) -> Pick:
        """Return the file to work on. Raises UsageError if there is none.

        It is ``given``, $DPLAUNCH_CLUSTER, the current cluster's file, or cluster.yaml in the working folder.
        What is ``given`` means production; the others are a rehearsal while theirs is the current cluster.
        """
        if given:
            return Pick(self._cwd / given)
        current = self.current()
        named, here = self._environ.get("DPLAUNCH_CLUSTER"), self._cwd / HERE
        if current and (not named or (self._cwd / named).resolve() == Path(current.file)):
            return current.pick
        if named:
            return Pick(self._cwd / named)
        if here.exists():
            return Pick(here)
        raise UsageError(
            f"no cluster file was given, no cluster is current, and this folder has no {HERE}",
            hint="give one (`dplaunch up cluster.yaml`), or write one with `dplaunch init`",
        )

    def remember(self, path: Path, text: str, name: str, *, rehearse: bool) -> None:
        """Make this cluster the current one and keep a copy of its file. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stem = _stem(name, rehearse=rehearse)
        copy = self.folder / f"{stem}.yaml"
        write_by_rename(copy, text)
        known = Known(name, str(path.resolve()), str(copy), rehearse, time.time())
        write_by_rename(self._entry(stem), json.dumps(to_builtins(known)))
        write_by_rename(self.folder / "current.json", json.dumps({"current": stem}))

    def forget(self, name: str, *, rehearse: bool) -> None:
        """Take note that the cluster is down. The one started last of the others becomes the current one."""
        stem = _stem(name, rehearse=rehearse)
        was_current = self._current_stem() == stem
        for gone in (self._entry(stem), self.folder / f"{stem}.yaml"):
            gone.unlink(missing_ok=True)
        if was_current:
            (self.folder / "current.json").unlink(missing_ok=True)
            left = max(self.known(), key=lambda known: known.since, default=None)
            if left is not None:
                stem = _stem(left.cluster, rehearse=left.rehearse)
                write_by_rename(self.folder / "current.json", json.dumps({"current": stem}))

    def known(self) -> tuple[Known, ...]:
        """The clusters that were started and not stopped, by name."""
        found = map(_read_known, sorted(self.folder.glob("*.cluster.json")))
        return tuple(known for known in found if known is not None)

    def current(self) -> Known | None:
        """The cluster that commands without a file are about."""
        stem = self._current_stem()
        return _read_known(self._entry(stem)) if stem else None

    def _entry(self, stem: str) -> Path:
        return self.folder / f"{stem}.cluster.json"

    def _current_stem(self) -> str:
        stem = _read_object(self.folder / "current.json").get("current")
        return stem if isinstance(stem, str) else ""


def _stem(name: str, *, rehearse: bool) -> str:
    return f"{name}.rehearsal" if rehearse else name


def _read_known(path: Path) -> Known | None:
    """An entry; None where it is missing or damaged."""
    fields = _read_object(path)
    types = {"cluster": str, "file": str, "copy": str, "rehearse": bool, "since": float}
    if fields.keys() != types.keys() or not all(isinstance(fields[k], kind) for k, kind in types.items()):
        return None
    return Known(**fields)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_by_rename(path: Path, text: str) -> None:
    """Write the whole text or nothing. Raises OSError naming ``path``."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
