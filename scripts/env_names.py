"""Write the names of environment variables that engines read: ``env_names.py vllm 0.23.0 0.33.0``.

The names are those in ``envs.py`` and those that the package asks the environment for anywhere, of all
versions named. They replace the package's names in ``dplaunch/engines/vllm/env_names.json``; what libraries
read is written there by hand, from their documents.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flag_tables import download

TABLE = Path(__file__).parent.parent / "dplaunch" / "engines" / "vllm" / "env_names.json"
NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
READERS = ("os.getenv", "os.environ.get", "os.environ.setdefault", "os.environ.pop", "environ.get", "getenv")
TABLES = ("environment_variables", "env_variables")


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", choices=("vllm", "vllm-ascend"))
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    given = parser.parse_args()
    found: set[str] = set()
    for version in given.versions:
        with tempfile.TemporaryDirectory(prefix="env-names-") as folder:
            found.update(read(download(version, Path(folder), given.package)))
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table[given.package] = sorted(found)
    rows = ",\n".join(f"{json.dumps(owner)}: {json.dumps(names)}" for owner, names in table.items())
    TABLE.write_text("{\n" + rows + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{given.package}: {len(found)} variables\n")
    return 0


def read(package: Path) -> Iterator[str]:
    """Yield the names in the modules of a source package, its tests and tools apart."""
    with tarfile.open(package) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            inside = path.startswith(("vllm/", "vllm_ascend/")) and path.endswith(".py")
            if inside and (file := archive.extractfile(member)):
                text = file.read().decode()
                if "environ" in text or "getenv" in text:
                    yield from names(ast.parse(text))


def names(module: ast.Module) -> Iterator[str]:
    """Yield the variables that a module defines or asks for."""
    for node in ast.walk(module):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            keys = list(node.value.keys) if getattr(target, "id", "") in TABLES else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in READERS:
            keys = list(node.args[:1])
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            keys = [node.slice]
        for key in keys:
            if isinstance(key, ast.Constant) and NAME.fullmatch(str(key.value)):
                yield str(key.value)


if __name__ == "__main__":
    sys.exit(main())
