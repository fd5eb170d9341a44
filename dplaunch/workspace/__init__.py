"""The operator's side: cluster files, the current cluster, secrets and hooks.

All other state of a cluster is on its nodes.
"""

from dplaunch.workspace.cluster import Cluster, load_cluster, read_plan
from dplaunch.workspace.hooks import run_hook
from dplaunch.workspace.memory import Known, Memory, Pick, write_by_rename
from dplaunch.workspace.secret_values import read_secrets

__all__ = [
    "Cluster",
    "Known",
    "Memory",
    "Pick",
    "load_cluster",
    "read_plan",
    "read_secrets",
    "run_hook",
    "write_by_rename",
]
