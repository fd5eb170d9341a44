"""What the dashboard draws: panels of PromQL over what engines (by their facts) and our router serve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from dplaunch.engines.facts import Metrics
from dplaunch.model.plan import ROUTER

QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}
CHOSEN = {"$quantile": "$quantile"}
"""Of one engine each: three lines for every engine would be too many."""
By = Literal["role", "endpoint"]
Line = tuple[str, str]
"""A PromQL expression, and the legend of its lines."""


class Panel(Struct, frozen=True, kw_only=True):
    """One panel; ``unit`` is Grafana's name of it."""

    title: str
    lines: tuple[Line, ...]
    unit: str = "short"
    kind: Literal["timeseries", "state-timeline"] = "timeseries"
    description: str = ""


def selector(cluster: str, **variables: str) -> str:
    """Label matchers: of this cluster, and of what a dashboard's variables choose."""
    chosen = (f'{label}=~"{variable}"' for label, variable in variables.items())
    return ",".join((f"cluster={json.dumps(cluster)}", *chosen))


def engine_panels(metrics: Metrics, by: By, where: str, looked_up: Sequence[str]) -> tuple[Panel, ...]:
    """Panels of the metrics that there are, a line for each role or each endpoint.

    ``where``: label matchers. ``looked_up``: as ``Api.looked_up``.
    """
    legend = f"{{{{{by}}}}}"
    hits = (metrics.prefix_queries, metrics.prefix_hits)
    panels = (
        _panel("Requests answered per second", "reqps", _rate(metrics.finished, by, where), legend),
        _quantiles("TTFT (time to first token)", metrics.ttft, by, where),
        _quantiles("TPOT (time per output token)", metrics.tpot, by, where),
        _panel("Running requests", "short", _sum(metrics.running, by, where), legend),
        _panel("Waiting requests", "short", _sum(metrics.waiting, by, where), legend),
        _panel("KV cache in use", "percentunit", _mean(metrics.kv_used, by, where), legend),
        _panel("Prefix cache hits, of tokens looked up", "percentunit", _part(hits, by, where), legend)
        if metrics.prefix_hits
        else _panel("Prefix cache hits", "percentunit", _mean(metrics.prefix_rate, by, where), legend),
        _panel("KV store hits, of tokens looked up", "percentunit", _part(looked_up, by, where), legend),
        _health("Metrics scraped", f"min by ({by}) (up{{{where}}})", legend),
    )
    return tuple(panel for panel in panels if panel.lines)


def router_panels(cluster: str) -> tuple[Panel, ...]:
    """Panels of our router's own metrics."""
    where = selector(cluster)
    members = "{{member}}"
    up, stuck = (f"dprouter_member_{what}{{{where}}}" for what in ("up", "stuck"))
    return (
        _panel(
            "Requests answered per second",
            "reqps",
            _rate("dprouter_requests_total", "status", where),
            "{{status}}",
        ),
        _quantiles("Time to first byte", "dprouter_first_byte_seconds", "cluster", where, "{name}"),
        Panel(title="Retries and errors per second", unit="reqps", lines=_troubles(where)),
        _panel(
            "In flight on each engine", "short", _sum("dprouter_member_requests", "member", where), members
        ),
        _panel("Queue of each engine", "short", _sum("dprouter_member_waiting", "member", where), members),
        _panel(
            "Tokens in flight on each engine",
            "short",
            _sum("dprouter_member_tokens", "member", where),
            members,
        ),
        _health("Health of members", f"{up} - {stuck}", members),
        _health("Serves", f"dprouter_ready{{{where}}}", ROUTER),
    )


TROUBLES = {
    "dprouter_retries_total": "tried again",
    "dprouter_unserved_total": "503, a role did not serve",
    "dprouter_cut_streams_total": "cut after the first byte",
    "dprouter_disconnects_total": "client went away",
    "dprouter_prefill_without_kv_total": "no KV from prefill",
    "dprouter_recomputed_total": "given up by its engine",
}


def _troubles(where: str) -> tuple[Line, ...]:
    return tuple((_rate(name, "cluster", where), meaning) for name, meaning in TROUBLES.items())


def _panel(title: str, unit: str, expression: str, legend: str) -> Panel:
    return Panel(title=title, unit=unit, lines=((expression, legend),) if expression else ())


def _health(title: str, expression: str, legend: str) -> Panel:
    return Panel(title=title, kind="state-timeline", lines=((expression, legend),))


def _quantiles(title: str, histogram: str, by: str, where: str, legend: str = "") -> Panel:
    """p50, p90 and p99 of each role; of endpoints the quantile that is chosen."""
    wanted = CHOSEN if by == "endpoint" else QUANTILES
    counts = f"sum by ({by}, le) (rate({histogram}_bucket{{{where}}}[$__rate_interval]))"
    lines = tuple(
        (f"histogram_quantile({part}, {counts})", legend.format(name=name) or f"{{{{{by}}}}} {name}")
        for name, part in wanted.items()
    )
    return Panel(title=title, unit="s", lines=lines if histogram else ())


def _rate(counter: str, by: str, where: str) -> str:
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))" if counter else ""


def _sum(gauge: str, by: str, where: str) -> str:
    return f"sum by ({by}) ({gauge}{{{where}}})" if gauge else ""


def _mean(gauge: str, by: str, where: str) -> str:
    return f"avg by ({by}) ({gauge}{{{where}}})" if gauge else ""


def _part(counters: Sequence[str], by: str, where: str) -> str:
    """The second of two counters by the first; empty where there are none."""
    if not all(counters) or not counters:
        return ""
    of, found = (_rate(counter, by, where) for counter in counters)
    return f"{found} / {of}"
