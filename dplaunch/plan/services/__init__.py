"""What runs beside the engines: today the router."""

from __future__ import annotations

from dplaunch.plan.services.router import RouterSite, flow, members_file, router_files, router_process

__all__ = ["RouterSite", "flow", "members_file", "router_files", "router_process"]
