"""Modules with FastDeploy's names that hand over to the stand-in; in PYTHONPATH, they are found first."""

from __future__ import annotations

_MODULES = (
    "entrypoints/openai/api_server",
    "entrypoints/openai/multi_api_server",
    "router/launch",
    "golang_router/launch",
)
_PACKAGES = ("", "entrypoints/", "entrypoints/openai/", "router/", "golang_router/")
_PACKAGE = '"""Stands in for FastDeploy in a rehearsal."""\n'
_MODULE = '''"""Stands in for {name}: the rehearsal takes the same arguments and environment."""

import os
import sys

bundle = os.environ["DPLAUNCH_BUNDLE"]
os.execvp(sys.executable, [sys.executable, "-I", "-S", bundle, "rehearsal", "{name}", *sys.argv[1:]])
'''


def _named(module: str) -> str:
    return f"fastdeploy.{module}".replace("/", ".")


PROGRAMS = {f"fastdeploy/{package}__init__.py": _PACKAGE for package in _PACKAGES} | {
    f"fastdeploy/{module}.py": _MODULE.format(name=_named(module)) for module in _MODULES
}
"""Paths below the node's bin/ → texts."""
