"""A table as a list of lines: no rules, no trailing blanks, readable at 80 columns and in a file.

Narrower than it needs to be, it first halves the gaps, then folds the flexible columns (at
words where it can); if that is not enough, the last columns follow below beside the key column again.
Without a key column lines become too long rather than lose text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from msgspec import Struct
from rich.console import Console, ConsoleOptions
from rich.text import Text

from dplaunch.view import style

_LEAST = 10
"""Characters that a folded column keeps at least."""
_BREAK = re.compile(r"(?<=[, /.-])")


class Table(Struct, frozen=True):
    """Heads and rows of equal length.

    ``flex`` names the columns that may be folded, ``key`` the one that says what a row is about.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Text]]
    flex: frozenset[str]
    key: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        del console
        for number, part in enumerate(self._parts(options.max_width)):
            if number:
                yield Text()
            yield from part.lines(options.max_width)

    def lines(self, room: int) -> Iterator[Text]:
        """One Text per line, side by side whatever the room."""
        widths, gap = self._widths(room)
        yield _line([Text(head, style.HEAD) for head in self.heads], widths, gap)
        for row in self.rows:
            folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
            for cells in zip_longest(*folded, fillvalue=Text()):
                yield _line(cells, widths, gap)

    def _parts(self, room: int) -> list[Table]:
        """Tables that fit one below the other, each with the key column."""
        widths, gap = self._widths(room)
        if not self.key or sum(widths) + gap * (len(widths) - 1) <= room:
            return [self]
        key = self.heads.index(self.key)
        parts: list[list[int]] = [[]]
        for place in range(len(widths)):
            taken = [*parts[-1], place]
            if len(taken) > 1 and sum(widths[one] + gap for one in taken) - gap > room:
                taken = [key, place]
                parts.append(taken)
            parts[-1] = taken
        return [self._columns(places) for places in parts]

    def _columns(self, places: Sequence[int]) -> Table:
        rows = [[row[place] for place in places] for row in self.rows]
        return Table([self.heads[place] for place in places], rows, self.flex)

    def _widths(self, room: int) -> tuple[list[int], int]:
        columns = zip(self.heads, *([cell.cell_len for cell in row] for row in self.rows), strict=True)
        widths = [max(len(head), *cells) if cells else len(head) for head, *cells in columns]
        gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= room else 1
        room -= gap * (len(widths) - 1)
        soft = [place for place, head in enumerate(self.heads) if head in self.flex]
        while sum(widths) > room:
            widest = max(soft, key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= max(_LEAST, len(self.heads[widest])):
                break
            widths[widest] -= 1
        return widths, gap


def tabulate(
    heads: Sequence[str], rows: Iterable[Sequence[str | Text]], *, flex: Sequence[str] = (), key: str = ""
) -> Table:
    """A table of the given rows; plain strings are taken as they are."""
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    return Table(heads, cells, frozenset(flex), key)


def _line(cells: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
    line = Text(no_wrap=True, overflow="ignore")
    pad = 0
    for cell, width in zip(cells, widths, strict=True):
        if cell:
            line.append(" " * pad).append_text(cell)
            pad = 0
        pad += width - cell.cell_len + gap
    return line


def _folded(cell: Text, width: int) -> list[Text]:
    """The cell's lines at this width."""
    if cell.cell_len <= width:
        return [cell]
    cuts, start = [], 0
    ends = [match.start() for match in _BREAK.finditer(cell.plain)] + [len(cell.plain)]
    while len(cell.plain) - start > width:
        fits = [end for end in ends if start < end <= start + width]
        start = fits[-1] if fits else start + width
        cuts.append(start)
    return list(cell.divide(cuts))
