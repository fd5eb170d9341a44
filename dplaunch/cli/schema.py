"""``dplaunch schema``: JSON Schema of the cluster file, for editors."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the cluster file's JSON Schema, for editors."""
    from dplaunch.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
