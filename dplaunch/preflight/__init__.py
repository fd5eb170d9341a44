"""Preflight: probes on all nodes at once, and what they found."""

from dplaunch.preflight.walk import CheckOptions, check, guard_start, quick

__all__ = ["CheckOptions", "check", "guard_start", "quick"]
