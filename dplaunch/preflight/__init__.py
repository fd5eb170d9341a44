"""Preflight: runs probes on all nodes at once and judges what they read."""

from dplaunch.preflight.first import FirstLook
from dplaunch.preflight.provide import Provided
from dplaunch.preflight.walk import CheckOptions, check

__all__ = ["CheckOptions", "FirstLook", "Provided", "check"]
