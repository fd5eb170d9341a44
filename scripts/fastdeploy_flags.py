"""Write tables of FastDeploy's flags from a clone of its repository: ``CLONE 2.5.0=COMMIT``.

FastDeploy is not on PyPI. Nothing of it is run: its parser is made of ``add_argument`` calls, which are read
with ``ast`` as ``flag_tables.py`` reads vLLM's. A table, ``dplaunch/engines/fastdeploy/flags/VERSION.json``,
has each flag of ``api_server`` with its kind and its choices.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flag_tables import Entry, Names, argument_calls, of_call

TABLES = Path(__file__).parent.parent / "dplaunch" / "engines" / "fastdeploy" / "flags"
SERVER = "fastdeploy/entrypoints/openai/"
PARSERS = {
    "fastdeploy/engine/args_utils.py": "add_cli_args",
    f"{SERVER}utils.py": "make_arg_parser",
    f"{SERVER}api_server.py": "",
}
"""Files with a part of the parser → the function that holds it; empty: the module itself."""


def main() -> int:
    """Write one table for each version that was named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path, help="a clone of PaddlePaddle/FastDeploy")
    parser.add_argument("versions", nargs="+", metavar="VERSION=COMMIT", help="2.5.0=v2.5.0")
    given = parser.parse_args()
    TABLES.mkdir(exist_ok=True)
    for version, _, commit in (pair.partition("=") for pair in given.versions):
        flags = dict(sorted(read_flags(given.clone, commit)))
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in flags.items())
        (TABLES / f"{version}.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
        sys.stdout.write(f"{version}: {len(flags)} flags\n")
    return 0


def read_flags(clone: Path, commit: str) -> Iterator[tuple[str, Entry]]:
    """Yield every flag of the servers of that commit, without its dashes."""
    for path, owner in PARSERS.items():
        module = ast.parse(show(clone, commit, path))
        named = (node for node in ast.walk(module) if getattr(node, "name", "") == owner)
        for holder in named if owner else (module,):
            yield from added(holder)


def show(clone: Path, commit: str, path: str) -> str:
    """Return a file of a commit."""
    command = ["git", "-C", str(clone), "show", f"{commit}:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def added(holder: ast.AST) -> Iterator[tuple[str, Entry]]:
    """Yield the long flags that are added below a node."""
    for call in argument_calls(holder):
        entry = of_call(call, {}, Names())
        for option in call.args:
            if isinstance(option, ast.Constant) and str(option.value).startswith("--"):
                yield str(option.value)[2:], entry


if __name__ == "__main__":
    sys.exit(main())
