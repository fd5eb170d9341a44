"""The operator's side: which file, which cluster is current, what its secrets are, its hooks.

Everything else of a cluster's state lives on its nodes.
"""

from dplaunch.workspace.cluster import Cluster, load_cluster, read_plan
from dplaunch.workspace.hooks import run_hook
from dplaunch.workspace.memory import Memory, Pick, write_by_rename
from dplaunch.workspace.secret_values import read_secrets

__all__ = [
    "Cluster",
    "Memory",
    "Pick",
    "load_cluster",
    "read_plan",
    "read_secrets",
    "run_hook",
    "write_by_rename",
]
