"""The clusters that an operator knows: a row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, to_builtins
from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.ranges import fold
from dplaunch.view import style
from dplaunch.view.table import tabulate


class ClusterRow(Struct, frozen=True, kw_only=True):
    """One cluster. ``state`` is the word of ``status``; ``problem``: why its file cannot be planned."""

    cluster: str
    rehearsal: bool
    file: str
    current: bool
    state: str
    nodes: tuple[str, ...] = ()
    url: str = ""
    unreached: tuple[str, ...] = ()
    problem: str = ""


def render(rows: Sequence[ClusterRow]) -> RenderableType:
    """A row per cluster; below it what could not be read or reached."""
    if not rows:
        return Text("no cluster was started from this machine; `dplaunch up cluster.yaml` starts one")
    cells = [
        (
            f"{'*' if row.current else ' '} {row.cluster}",
            "rehearsal" if row.rehearsal else "production",
            "OUTAGE" if row.state == "outage" else row.state,
            fold(row.nodes) or "-",
            row.url or "-",
            row.file,
        )
        for row in rows
    ]
    heads = ("  CLUSTER", "KIND", "STATE", "NODES", "ENDPOINT", "FILE")
    remarks = [_remark(row, row.problem) for row in rows if row.problem]
    remarks += [_remark(row, f"{fold(row.unreached)} unreachable") for row in rows if row.unreached]
    return Group(tabulate(heads, cells, flex=("NODES", "FILE")), *remarks)


def _remark(row: ClusterRow, text: str) -> Text:
    return Text.assemble((f"{row.cluster}: ", style.HEAD), style.plain(text))


def to_json(rows: Sequence[ClusterRow]) -> dict[str, Any]:
    """``{"clusters": [{cluster, rehearsal, file, current, state, nodes, url, unreached, problem}]}``."""
    return {"clusters": [to_builtins(row) for row in rows]}
