"""``dplaunch export``: the cluster as a file of another tool."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode


class Tool(str, Enum):
    """What reads the file."""

    PROMETHEUS = "prometheus"
    GRAFANA = "grafana"


What = Annotated[
    Tool,
    typer.Argument(
        metavar="prometheus|grafana",
        help="prometheus: write a scrape configuration of the router and all engines. "
        "grafana: write a dashboard of them, to import.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None, option("--out", "-O", help="Write to this file (default: print).", show_default=False)
]


def export(call: Invocation, what: What, out: Out = None) -> ExitCode:
    """Write Prometheus's scrape configuration of the cluster, or a Grafana dashboard. Reach no node."""
    from dplaunch import export as exports
    from dplaunch.cli.cluster import open_cluster
    from dplaunch.engines import adapter
    from dplaunch.workspace import write_by_rename

    cluster = open_cluster(call)
    metrics = adapter(cluster.spec.engine.kind).metrics(cluster.spec)
    if what is Tool.PROMETHEUS:
        document = exports.scrape_jobs(cluster.plan, metrics)
        text = exports.prometheus(cluster.plan, metrics)
    else:
        document = exports.grafana(cluster.plan, metrics)
        text = exports.dump(document)
    if out is not None:
        write_by_rename(out, text)
        call.screen.present(f"wrote {out}", {"written": str(out)})
    elif call.screen.json:
        call.screen.present("", document)
    else:
        call.screen.write(text)  # a file of another program: as it is, however wide the terminal
    return ExitCode.DONE
