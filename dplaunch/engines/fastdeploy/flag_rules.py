"""The flags of a FastDeploy's ``api_server``, by the tables that ``scripts/fastdeploy_flags.py`` reads.

2.6 is its release branch of 2026-06-01; the others are the releases of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from dplaunch.engines import flag_rules
from dplaunch.engines.flag_rules import Parser
from dplaunch.engines.flagtable import Flags, read
from dplaunch.engines.rules import arguments
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec

FOLDER = Path(__file__).parent / "flags"
LISTING = "`python3 -m fastdeploy.entrypoints.openai.api_server --help` on a node lists its flags"


def flags(version: str) -> Flags | None:
    """The flags of a FastDeploy; None for a version that lies before all tables."""
    return read(version, FOLDER)


def negatable(version: str, name: str) -> bool:
    """Whether that FastDeploy has a ``--no-`` form of the flag."""
    known = flags(version)
    return known is not None and known.negatable(name)


def spelt(version: str, name: str) -> str:
    """A flag as FastDeploy writes it: a few names have an underscore, which cluster files do not keep."""
    known = flags(version)
    return next((own for own in known.known if own.replace("_", "-") == name), name) if known else name


def parser(version: str) -> Parser:
    """Whose command line is judged."""
    known = flags(version)
    return Parser(
        engine=f"fastdeploy {version}",
        known=known,
        source=f"FastDeploy {known.version if known else version}, fastdeploy/engine/args_utils.py",
        listing=LISTING,
    )


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Every flag of the file, at its place."""
    version = spec.engine.version
    for place, args in arguments(spec):
        for name, value in args.items():
            for problem in flag_rules.judge(parser(version), spelt(version, name), value):
                yield replace(problem, key=f"{place}.{name}")


def listed(version: str) -> str:
    """What a stand-in reads: a line for each flag, with its kind."""
    known = flags(version)
    return "".join(f"{name} {flag.kind}\n" for name, flag in known.known.items()) if known else ""
