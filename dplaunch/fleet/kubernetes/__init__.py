"""The driver for Kubernetes: pods in the place of machines, and in them the same guards."""

from __future__ import annotations

from dplaunch.fleet.kubernetes.driver import Pods
from dplaunch.fleet.kubernetes.kubectl import Client

__all__ = ["Client", "Pods"]
