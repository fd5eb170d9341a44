"""One file for several nodes, outside dplaunch's own folders: the same bytes everywhere, or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job, connect_all, need_all, phase
from dplaunch.model.plan import File
from dplaunch.model.remote import ExecResult
from dplaunch.ranges import fold, grouped
from dplaunch.words import plural

TIMEOUT = 30.0
SCRIPT = """\
[ ! -d "$2" ] || { echo "$2 is a folder" >&2; exit 1; }
[ -d "${2%/*}/" ] || { echo "the folder ${2%/*}/ does not exist" >&2; exit 1; }
new="$2.$$.new"
trap 'rm -f "$new" "$1"' EXIT
cp "$1" "$new" && chmod "$3" "$new" && mv -f "$new" "$2" && sha256sum <"$2"
"""
"""Puts the file ``$1`` of the node's folder to ``$2`` with the mode ``$3``, whole or not at all."""


def deliver(job: Job, verb: str, nodes: Sequence[str], file: File, path: str) -> str:
    """Write the file to an absolute path on these nodes. Returns its SHA-256, which all have confirmed.

    ``file.path`` is its place in the node's folder on the way. Raises HostError where a node is unreachable,
    before anything is written, and DplaunchError naming the nodes that do not have it.
    """
    wanted = hashlib.sha256(file.text.encode()).hexdigest()
    connect_all(job, nodes)
    argv = ("sh", "-c", SCRIPT, "sh", file.path, path, f"{file.mode:o}")
    with job.driver.locked(job.operator, verb), phase(job, "send", plural(len(nodes), "node")):
        failed = job.driver.write(dict.fromkeys(nodes, file))
        need_all(job)
        written = [name for name in nodes if name not in failed]
        results = job.driver.execute(written, argv, TIMEOUT)
    faults = {name: error.text for name, error in failed.items()} | dict(_find_faults(results, wanted))
    if faults:
        raise DplaunchError(
            f"{path} was not written on {len(faults)} of {plural(len(nodes), 'node')}",
            hint="repair that on these nodes, or choose another path; then run the command again",
            detail=tuple(_fold(faults)),
        )
    return wanted


def _fold(faults: Mapping[str, str]) -> Iterator[str]:
    """Yield ``n[1-2]: the disk is full``; a refusal names its node already."""
    texts = grouped((text.removeprefix(f"{name}: "), name) for name, text in faults.items())
    for text, names in texts.items():
        yield f"{fold(names)}: {text}"


def _find_faults(results: Sequence[ExecResult], wanted: str) -> Iterator[tuple[str, str]]:
    for result in results:
        printed = result.out.split()
        if result.code != 0:
            lines = result.err.strip().splitlines() or [result.problem or f"exit code {result.code}"]
            yield result.node, lines[-1]
        elif printed[:1] != [wanted]:
            yield result.node, f"the file has SHA-256 {' '.join(printed[:1]) or '?'} instead of {wanted}"
