"""Preflight: probes on all nodes at once, and what they found."""

from dplaunch.preflight.first import FirstLook
from dplaunch.preflight.walk import CheckOptions, check

__all__ = ["CheckOptions", "FirstLook", "check"]
