"""The rank table that a cluster's engines read: what it must hold, and one that the cluster file names."""

from __future__ import annotations

from msgspec.structs import replace

from dplaunch.engines import adapter
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.plan import RankTable
from dplaunch.ranktable.table import Site
from dplaunch.ranktable.verify import verify

KEY = "engine.rank_table"


def site_of(spec: ClusterSpec, table: RankTable) -> Site:
    """Return what the table of a group must hold."""
    nodes = {node.name: node for node in spec.nodes}
    return Site(
        nodes=tuple(nodes[name] for name in table.nodes),
        family=spec.hardware.family,
        whole=True,
        containers=table.containers,
    )


def check_named(spec: ClusterSpec) -> tuple[Problem, ...]:
    """Return the problems of a table beside the cluster file, each with its place there in the text."""
    table, text = adapter(spec.engine.kind).rank_table(spec), spec.engine.rank_table_text
    if table is None or text is None:
        return ()
    found = verify(text, spec.engine.rank_table or "", site_of(spec, table))
    return tuple(
        replace(
            one, text=f"{one.file}:{one.line}:{one.column}: {one.text}", file="", line=0, column=0, key=KEY
        )
        for one in found
    )
