"""A folder of collected logs, as ``logs --collect`` writes it or as somebody else made it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dplaunch.errors import UsageError

_ENDINGS = (".log", ".txt")
_PREVIOUS = ".prev"


@dataclass(frozen=True, slots=True)
class CollectedLog:
    """One file: the process is called after it, the node after its folder."""

    process: str
    node: str
    path: Path

    @contextmanager
    def lines(self) -> Iterator[Iterable[str]]:
        """Its lines, one by one: logs are long."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            yield (line.rstrip("\r\n") for line in file)


def collected(folder: Path, *, previous: bool = False) -> tuple[CollectedLog, ...]:
    """Every ``*.log`` and ``*.txt`` at any depth; ``previous``: those of the run before (``*.prev.log``).

    Raises UsageError where there are none.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix in _ENDINGS and p.is_file())
    wanted = [p for p in files if p.stem.endswith(_PREVIOUS) is previous]
    if not wanted:
        raise UsageError(
            f"{folder} holds no logs (*.log or *.txt)", hint="`dplaunch logs all --collect DIR` writes them"
        )
    stems = [path.stem for path in wanted]
    return tuple(_named(folder, path, alone=stems.count(path.stem) == 1) for path in wanted)


def _named(folder: Path, path: Path, *, alone: bool) -> CollectedLog:
    """Equal names of several folders are told apart by their folder."""
    place = path.relative_to(folder)
    name = place.name.removesuffix(path.suffix).removesuffix(_PREVIOUS)
    node = place.parent.name
    return CollectedLog(name if alone else f"{place.parent.as_posix()}/{name}", node, path)
