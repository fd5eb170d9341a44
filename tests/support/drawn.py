"""What an exported dashboard asks Prometheus for."""

import re

from msgspec import to_builtins


def panels_of(dashboard):
    """Its panels without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def metrics_of(dashboard):
    """The names of all metrics as their TYPE lines have them; ``up`` is Prometheus's own."""
    expressions = [target["expr"] for panel in panels_of(dashboard) for target in panel["targets"]]
    names = {name for text in expressions for name in re.findall(r"([A-Za-z_:]+)\{", text)}
    return {name.removesuffix("_bucket") for name in names} - {"up"}


def names_of(metrics):
    """The names of an engine's ``Metrics`` that it has."""
    fields = to_builtins(metrics)
    return {name for field, name in fields.items() if field not in ("port", "condition")} - {""}
