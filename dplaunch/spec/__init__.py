"""YAML text → ``ClusterSpec``, with every problem at its place; the schema and what each key means."""

from dplaunch.fold import fold
from dplaunch.spec.duration import seconds
from dplaunch.spec.explain import explain
from dplaunch.spec.hostrange import RangeError, expand
from dplaunch.spec.jsonschema import json_schema
from dplaunch.spec.load import Loaded, load
from dplaunch.spec.reference import reference

__all__ = [
    "Loaded",
    "RangeError",
    "expand",
    "explain",
    "fold",
    "json_schema",
    "load",
    "reference",
    "seconds",
]
