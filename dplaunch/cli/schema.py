"""``dplaunch schema``: JSON Schema of the cluster file, for editors."""

from __future__ import annotations

import json

from dplaunch.cli.verb import Invocation
from dplaunch.errors import ExitCode


def schema(call: Invocation) -> ExitCode:
    """Print the cluster file's JSON Schema, for editors."""
    from dplaunch.spec.jsonschema import json_schema

    call.screen.write(json.dumps(json_schema(), indent=2) + "\n")
    return ExitCode.DONE
