"""Engines that dplaunch does not start, but that may hold a node's devices and ports."""

from __future__ import annotations

TITLES = ("(?i)mindie",)
"""As ``EngineFacts.titles``."""
