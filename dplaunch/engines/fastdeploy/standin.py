"""Modules with FastDeploy's names that hand over to the stand-in; in PYTHONPATH, they are found first."""

from __future__ import annotations

from collections.abc import Mapping

from dplaunch.engines.adapter import StandIn
from dplaunch.engines.fastdeploy.flag_rules import listed

FLAGS = "fastdeploy/flags.txt"
ROUTER = "fd-router"
PROMPTS = "prompts.txt"
_PROMPTS = "Hello, my name is\nThe capital of France is\n"
_SHELL = f"""#!/bin/sh
# Stands in for FastDeploy's router: the rehearsal takes the same arguments.
exec python3 -I -S "${{DPLAUNCH_BUNDLE:?is not set: start rehearsals with dplaunch}}" rehearsal {ROUTER} "$@"
"""
_MODULES = (
    "entrypoints/openai/api_server",
    "entrypoints/openai/multi_api_server",
    "router/launch",
    "golang_router/launch",
)
_PACKAGES = ("entrypoints/", "entrypoints/openai/", "router/", "golang_router/")
_WHOLE = '''"""Stands in for FastDeploy in a rehearsal: what offline programs import of it."""

import os
import sys


def __getattr__(name):
    if name not in ("LLM", "SamplingParams"):
        raise AttributeError(name)
    sys.path.insert(0, os.environ["DPLAUNCH_BUNDLE"])
    from rehearsal.fastdeploy import offline

    return getattr(offline, name)
'''
_PACKAGE = '"""Stands in for FastDeploy in a rehearsal."""\n'
_MODULE = '''"""Stands in for {name}: the rehearsal takes the same arguments and environment."""

import os
import sys

bundle = os.environ["DPLAUNCH_BUNDLE"]
os.execvp(sys.executable, [sys.executable, "-I", "-S", bundle, "rehearsal", "{name}", *sys.argv[1:]])
'''


def _named(module: str) -> str:
    return f"fastdeploy.{module}".replace("/", ".")


_PROGRAMS = {
    "fastdeploy/__init__.py": _WHOLE,
    **{f"fastdeploy/{package}__init__.py": _PACKAGE for package in _PACKAGES},
    **{f"fastdeploy/{module}.py": _MODULE.format(name=_named(module)) for module in _MODULES},
}


def programs(version: str) -> Mapping[str, str]:
    """Paths below the node's bin/ → texts: modules, the router in Go, and the flags of this version."""
    return {**_PROGRAMS, FLAGS: listed(version), ROUTER: _SHELL}


def of_program(version: str) -> StandIn:
    """What an offline program imports; it reads prompts and writes answers below the node's folder."""
    own = of(version, {})
    args = {"prompts-file": f"../../bin/{PROMPTS}", "output-file": "answers.jsonl"}
    return StandIn({**own.programs, PROMPTS: _PROMPTS}, own.env, args)


def of(version: str, env: Mapping[str, str], routers: tuple[str, ...] = ()) -> StandIn:
    """The stand-in of a version; ``env``: what it needs besides."""
    flags = f"${{DPLAUNCH_ROOT}}/bin/{FLAGS}"
    own = {"DPLAUNCH_REHEARSAL_VERSION": version, "DPLAUNCH_REHEARSAL_FLAGS": flags}
    return StandIn(programs(version), own | dict(env), routers=routers)
