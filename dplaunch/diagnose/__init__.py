"""Finds in log lines what failed first, why, and what to do about it. Pure."""

from dplaunch.diagnose.catalogue import catalogue, explain, is_code, recognise
from dplaunch.diagnose.evidence import SUSPECT, Evidence, identify
from dplaunch.diagnose.lines import read_message

__all__ = ["SUSPECT", "Evidence", "catalogue", "explain", "identify", "is_code", "read_message", "recognise"]
