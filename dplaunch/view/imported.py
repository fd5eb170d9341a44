"""What ``import`` made: the file, how its engines differ from the source's, and what it does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import to_builtins
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.model.imported import Difference, Imported, Left
from dplaunch.ranges import fold, grouped
from dplaunch.view import problems, style
from dplaunch.view.table import tabulate
from dplaunch.words import plural

_LONGEST = 48
"""Characters of a value; the whole one is in the JSON document."""
_SEVERAL = 2
"""Values that are printed one by one; more are printed as the first and the last."""


def render(found: Imported, path: str, *, verbose: bool) -> RenderableType:
    """What was left behind and what differs, first what matters; then the verdict and the next command."""
    parts: list[RenderableType] = []
    parts += [*_with_gap(problems.render(found.problems))] if found.problems else []
    if found.left:
        parts += [Text("Not carried over, or assumed", style.HEAD), *_left(found.left), Text("")]
    open_ones = [one for one in found.differences if not one.why]
    if open_ones:
        parts += [Text("Different, and nothing explains it", style.BAD), _values(open_ones), Text("")]
    explained = [one for one in found.differences if one.why]
    if explained:
        parts.append(Text("Different, and why", style.HEAD))
        parts += [_values(explained, why=True)] if verbose else [*_reasons(explained)]
        parts.append(Text(""))
    return Group(*parts, *_verdict(found, path))


def to_json(found: Imported, path: str) -> dict[str, Any]:
    """``{"file", "complete", "engines", "differences", "left", "problems"}``."""
    return {
        "file": path,
        "complete": found.complete,
        "engines": found.engines,
        "differences": to_builtins(found.differences),
        "left": to_builtins(found.left),
        "problems": [problems.to_json(problem) for problem in found.problems],
    }


def _with_gap(text: Text) -> Iterator[Text]:
    yield text
    yield Text("")


def _left(left: Sequence[Left]) -> Iterator[Text]:
    """Equal ones of several places once, with all places."""
    for (text, hint, matters), places in grouped(
        ((one.text, one.hint, one.matters), one.where) for one in left
    ).items():
        where = places[0] + (f" and {plural(len(places) - 1, 'place')} more" if len(places) > 1 else "")
        yield Text.assemble("  ", (f"{where}: ", style.HEAD if matters else style.DIM), text)
        if hint:
            yield Text.assemble(("    = help: ", style.NAME), hint)


def _reasons(differences: Sequence[Difference]) -> Iterator[Text]:
    """A paragraph for each reason, with the flags and variables that it explains."""
    for why, names in grouped((one.why, one.what) for one in differences).items():
        yield Text.assemble(f"  {why}: ", (", ".join(dict.fromkeys(names)), style.DIM))


def _values(differences: Sequence[Difference], *, why: bool = False) -> RenderableType:
    """A row for each flag or variable: how many engines, what they had, what they get."""
    rows = []
    for (what, reason), same in grouped(((one.what, one.why), one) for one in differences).items():
        engines = fold(dict.fromkeys(name for one in same for name in one.engines))
        row = [what, engines, _several([one.theirs for one in same]), _several([one.ours for one in same])]
        rows.append([*row, reason] if why else row)
    heads = ("WHAT", "ENGINES", "SOURCE", "CLUSTER FILE", *(("WHY",) if why else ()))
    return tabulate(heads, rows, flex=heads)


def _several(values: Sequence[str | None]) -> str:
    texts = list(dict.fromkeys("—" if value is None else value for value in values))
    short = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in texts]
    return ", ".join(short) if len(short) <= _SEVERAL else f"{short[0]} … {short[-1]}"


def _verdict(found: Imported, path: str) -> Iterator[Text]:
    wrong = sum(not problem.warning for problem in found.problems)
    matters = sum(one.matters for one in found.left)
    unexplained = sum(not one.why for one in found.differences)
    if wrong:
        yield Text(
            f"wrote {path}, which has {plural(wrong, 'error')} to mend: nothing was compared yet", style.BAD
        )
        yield Text(f"  dplaunch validate {path}", style.NAME)
        return
    counted = f"{plural(found.engines, 'process')} compared with the source"
    if found.complete:
        yield Text.assemble(
            (f"wrote {path}", style.GOOD), f": {counted}, every difference is explained above"
        )
    else:
        missing = [
            plural(count, noun)
            for count, noun in ((unexplained, "unexplained difference"), (matters, "thing"))
            if count
        ]
        text = f": {counted}; look at {' and '.join(missing)} above before you start it"
        yield Text.assemble((f"wrote {path}", style.WARN), text)
    yield Text(f"  dplaunch plan {path}; dplaunch up --rehearse {path}", style.NAME)
