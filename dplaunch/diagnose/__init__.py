"""Finds in log lines what failed first, why, and what to do about it. Pure."""

from dplaunch.diagnose.catalogue import catalogue, explain, recognise
from dplaunch.diagnose.evidence import SUSPECT, Evidence, identify

__all__ = ["SUSPECT", "Evidence", "catalogue", "explain", "identify", "recognise"]
