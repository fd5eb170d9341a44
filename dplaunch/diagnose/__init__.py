"""Log lines → what failed first, why, and what to do. Pure: lines and clocks come from the caller."""

from dplaunch.diagnose.catalogue import catalogue, explained, recognise
from dplaunch.diagnose.evidence import SUSPECT, Evidence, name_of

__all__ = ["SUSPECT", "Evidence", "catalogue", "explained", "name_of", "recognise"]
