"""YAML text → ``ClusterSpec``, with every problem at its place.

What only readers and editors ask for stands beside it, and is loaded when asked: ``spec.explain.explain``,
``spec.jsonschema.json_schema``, ``spec.reference.reference``.
"""

from dplaunch.spec.load import Loaded, load

__all__ = ["Loaded", "load"]
