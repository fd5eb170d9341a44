"""Chooses the cluster file, and remembers which cluster is current."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dplaunch.errors import UsageError

HERE = "cluster.yaml"


@dataclass(frozen=True, slots=True)
class Pick:
    """The chosen cluster file. ``rehearse`` is remembered from the ``up`` that made the cluster current."""

    path: Path
    rehearse: bool = False
    text_from: Path | None = None
    """The remembered copy, which is read if the file itself is gone."""


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

        It is ``given``, $DPLAUNCH_CLUSTER, cluster.yaml in the working folder, or the current cluster's file.
        """
        named = given or self._environ.get("DPLAUNCH_CLUSTER")
        if named:
            return self._pick_file(self._cwd / named)
        if (self._cwd / HERE).exists():
            return self._pick_file(self._cwd / HERE)
        current = self._pick_current()
        if current is None:
            raise UsageError(
                f"no cluster file was given, this folder has no {HERE}, and no cluster is current",
                hint="give one (`dplaunch up cluster.yaml`), or write one with `dplaunch init`",
            )
        return current

    def remember(self, path: Path, text: str, name: str, *, rehearse: bool) -> None:
        """Make this cluster the current one and keep a copy of its file."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = self.folder / f"{name}{'.rehearsal' if rehearse else ''}.yaml"
        write_by_rename(copy, text)
        entry = {"cluster": name, "file": str(path.resolve()), "copy": str(copy), "rehearse": rehearse}
        write_by_rename(self.folder / "current.json", json.dumps(entry))

    def forget(self, name: str) -> None:
        """Take note that the cluster is down: it is no longer the current one."""
        entry = self._read_entry()
        if entry and entry.get("cluster") == name:
            (self.folder / "current.json").unlink(missing_ok=True)

    def _pick_current(self) -> Pick | None:
        entry = self._read_entry()
        if not entry:
            return None
        return Pick(Path(entry["file"]), rehearse=bool(entry["rehearse"]), text_from=Path(entry["copy"]))

    def _pick_file(self, path: Path) -> Pick:
        entry = self._read_entry()
        same = bool(entry) and Path(str(entry.get("file"))) == path.resolve()
        return Pick(path, rehearse=same and bool(entry.get("rehearse")))

    def _read_entry(self) -> dict[str, str]:
        try:
            entry = json.loads((self.folder / "current.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entry if isinstance(entry, dict) else {}


def write_by_rename(path: Path, text: str) -> None:
    """Write the whole text or nothing. Raises OSError naming ``path``."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
