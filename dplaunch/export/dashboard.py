"""A Grafana dashboard as one JSON document: the router, each role, each engine.

It is imported by hand or provisioned from a file: its data source is a variable, as are role and endpoint.
Metrics are found by the labels of ``scrape``; ``up`` is Prometheus's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dplaunch.engines.facts import Metrics
from dplaunch.export.panels import Panel, engine_panels, router_panels, selector
from dplaunch.export.scrape import list_targets, serves_router_metrics
from dplaunch.model.plan import Plan

SCHEMA = 39
"""Of Grafana 11; newer ones convert it when they load it."""
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
"""Of a panel in Grafana's grid, which is 24 wide, and panels side by side."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
EVERY_ROLE = {"role": "$role"}
CHOSEN = {"role": "$role", "endpoint": "$endpoint"}


def grafana(plan: Plan, metrics: Metrics) -> dict[str, Any]:
    """The dashboard. Panels of metrics that the engine does not have are left out.

    Raises UsageError where nothing of the plan serves metrics.
    """
    list_targets(plan, metrics)
    looked_up = next((e.api.looked_up for e in plan.endpoints if e.api.looked_up), ())
    rows = []
    if serves_router_metrics(plan):
        rows.append(("Router", router_panels(plan.cluster)))
    by_role = engine_panels(metrics, "role", selector(plan.cluster, **EVERY_ROLE), looked_up)
    by_endpoint = engine_panels(metrics, "endpoint", selector(plan.cluster, **CHOSEN), looked_up)
    rows += [("Roles", by_role), ("Engines", by_endpoint)]
    return {
        "title": f"{plan.title} (dplaunch)",
        "uid": f"dplaunch-{plan.cluster}"[:40],
        "description": "Written by dplaunch export grafana.",
        "tags": ["dplaunch"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": _variables(plan)},
        "panels": list(_laid_out(rows)),
    }


def _variables(plan: Plan) -> list[dict[str, Any]]:
    everything = selector(plan.cluster)
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _query("role", f'label_values(up{{{everything},role!="router"}}, role)'),
        _query("endpoint", f'label_values(up{{{everything},role=~"$role",role!="router"}}, endpoint)'),
        {
            "name": "quantile",
            "label": "Quantile of engines",
            "type": "custom",
            "query": "0.5,0.9,0.99",
            "current": {"text": "0.9", "value": "0.9"},
        },
    ]


def _query(name: str, query: str) -> dict[str, Any]:
    """A variable of several values, all at first, read again when the time range changes."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 3,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _laid_out(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Iterator[dict[str, Any]]:
    """Rows under their headings, three panels side by side, numbered from 1."""
    number, top = 1, 0
    for title, panels in rows:
        place = {"h": 1, "w": WIDTH * COLUMNS, "x": 0, "y": top}
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        number, top = number + 1, top + 1
        for index, panel in enumerate(panels):
            line, column = divmod(index, COLUMNS)
            place = {"h": HEIGHT, "w": WIDTH, "x": WIDTH * column, "y": top + HEIGHT * line}
            yield {"id": number, "gridPos": place, **_drawn(panel)}
            number += 1
        top += HEIGHT * -(-len(panels) // COLUMNS)


def _drawn(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    if panel.kind == "state-timeline":
        states = {"0": {"text": "out", "color": "red"}, "1": {"text": "up", "color": "green"}}
        defaults["mappings"] = [{"type": "value", "options": states}]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.lines)
        ],
    }


def dump(document: dict[str, Any]) -> str:
    """The document as text."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
