"""Folders of collected logs, written by ``logs --collect`` or by other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from dplaunch.errors import UsageError

_ENDINGS = (".log", ".txt")
_PREVIOUS = ".prev"


class CollectedLog(Struct, frozen=True):
    """One log file. The process is named after the file, the node after its folder."""

    process: str
    node: str
    path: Path

    @contextmanager
    def lines(self) -> Iterator[Iterable[str]]:
        """Give its lines one by one, since logs are long."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            yield (line.rstrip("\r\n") for line in file)


def find_logs(folder: Path, *, previous: bool = False) -> tuple[CollectedLog, ...]:
    """Return every ``*.log`` and ``*.txt`` at any depth; with ``previous`` those of the run before.

    The names of the latter end in ``.prev``. One file may be named instead of a folder. Raises UsageError if
    there are none.
    """
    if folder.is_file() and not previous:
        return (CollectedLog(folder.stem, "", folder),)
    files = sorted(p for p in folder.rglob("*") if p.suffix in _ENDINGS and p.is_file())
    wanted = [p for p in files if p.stem.endswith(_PREVIOUS) is previous]
    if not wanted:
        raise UsageError(
            f"{folder} holds no logs (*.log or *.txt)",
            hint="collect them with `dplaunch logs all --collect DIR`",
        )
    stems = [path.stem for path in wanted]
    return tuple(_name_log(folder, path, alone=stems.count(path.stem) == 1) for path in wanted)


def _name_log(folder: Path, path: Path, *, alone: bool) -> CollectedLog:
    """Name a log after its file; if several folders hold that file name, with its folder in front."""
    place = path.relative_to(folder)
    name = place.name.removesuffix(path.suffix).removesuffix(_PREVIOUS)
    node = place.parent.name
    return CollectedLog(name if alone else f"{place.parent.as_posix()}/{name}", node, path)
