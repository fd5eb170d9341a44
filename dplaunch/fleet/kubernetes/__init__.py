"""The drivers for Kubernetes: pods in the place of machines, and pods that an engine's own program makes."""

from __future__ import annotations

from dplaunch.fleet.kubernetes.deployed import Deployed
from dplaunch.fleet.kubernetes.driver import Pods
from dplaunch.fleet.kubernetes.kubectl import Client

__all__ = ["Client", "Deployed", "Pods"]
