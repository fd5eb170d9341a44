"""Log lines → what failed first, why, and what to do. Pure: lines and clocks come from the caller."""

from dplaunch.diagnose.catalogue import catalogue, explained, recognise
from dplaunch.diagnose.evidence import SUSPECT, Evidence

__all__ = ["SUSPECT", "Evidence", "catalogue", "explained", "recognise"]
