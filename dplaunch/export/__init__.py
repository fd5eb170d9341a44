"""A plan as files of other tools: what Prometheus scrapes, and a Grafana dashboard of it."""

from __future__ import annotations

from dplaunch.export.dashboard import dump, grafana
from dplaunch.export.scrape import prometheus, scrape_jobs

__all__ = ["dump", "grafana", "prometheus", "scrape_jobs"]
