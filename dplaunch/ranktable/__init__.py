"""Rank tables: made of what devices report, and held against every rule of their readers."""

from dplaunch.ranktable.make import make_table
from dplaunch.ranktable.named import check_named, site_of
from dplaunch.ranktable.table import Device, NodeDevices, Site, Table
from dplaunch.ranktable.transfer import make_transfer_table
from dplaunch.ranktable.verify import read_nodes, verify

__all__ = [
    "Device",
    "NodeDevices",
    "Site",
    "Table",
    "check_named",
    "make_table",
    "make_transfer_table",
    "read_nodes",
    "site_of",
    "verify",
]
