"""What a start needs on nodes that no plan can hold: the rank table, made of what devices report then.

One that is there already is verified: all nodes must have the same bytes, and they must be the plan's.
A rehearsal has no devices: its table holds addresses that are made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from dplaunch.errors import DplaunchError, SpecError
from dplaunch.fleet.change.options import Preflight
from dplaunch.fleet.job import Job, need_all, phase
from dplaunch.model.cluster import ClusterSpec
from dplaunch.model.observed import Observed
from dplaunch.model.plan import File, Plan, RankTable
from dplaunch.model.remote import ExecResult
from dplaunch.preflight.ranktable import make
from dplaunch.ranges import fold, grouped
from dplaunch.ranktable import Device, NodeDevices, Site, make_table, site_of, verify
from dplaunch.ranktable.verify import MODE
from dplaunch.words import plural

TIMEOUT = 30.0
LOOK = """\
[ ! -L "$1" ] || { echo "$1 is a symbolic link, which engines refuse" >&2; exit 1; }
[ -f "$1" ] || { echo "$1 is not a file" >&2; exit 1; }
case $(stat -c %a "$1") in *[1-7]) echo "$1 may be read by others: chmod 640 $1" >&2; exit 1;; esac
exec cat "$1"
"""
"""Prints a rank table, where engines would accept the file."""


class Provided(Preflight):
    """Looks at nothing; only provides."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec

    def before(self, job: Job, observed: Observed) -> None:
        """Provide what is needed. Raises what keeps it from being provided."""
        del observed
        provide(job, self._spec)


def provide(job: Job, spec: ClusterSpec) -> None:
    """Write the rank table to its nodes, or verify the one that is there. Nothing where none is needed."""
    table = job.plan.rank_table
    if table is None:
        return
    if table.made:
        text = _invent(job.plan, site_of(spec, table)) if job.plan.rehearsal else make(job, spec)
        _write(job, table, text)
    elif table.path.startswith("/"):
        _verify_there(job, table, site_of(spec, table))


def _write(job: Job, table: RankTable, text: str) -> None:
    with phase(job, "rank table", plural(len(table.nodes), "node")):
        failed = job.driver.write(dict.fromkeys(table.nodes, File(table.path, text, MODE)))
        need_all(job)
    if failed:
        raise next(iter(failed.values()))


def _verify_there(job: Job, table: RankTable, site: Site) -> None:
    with phase(job, "rank table", plural(len(table.nodes), "node")):
        results = job.driver.execute(list(table.nodes), ("sh", "-c", LOOK, "sh", table.path), TIMEOUT)
        need_all(job)
    judge_there(results, table, site)


def judge_there(results: Sequence[ExecResult], table: RankTable, site: Site) -> None:
    """Raise where a node's table cannot be used, differs from another's, or is not that of the plan.

    ``results``: what ``LOOK`` printed on each node.
    """
    for result in results:
        if result.code != 0:
            why = result.err.strip() or result.problem or f"exit code {result.code}"
            hint = "leave engine.rank_table out and it is made, or send one: dplaunch ranktable --to PATH"
            raise DplaunchError(f"{result.node}: {why}; nothing was started", hint=hint)
    texts = grouped((result.out, result.node) for result in results)
    if len(texts) > 1:
        detail = tuple(f"{fold(nodes)}: {len(text)} bytes" for text, nodes in texts.items())
        text = f"{table.path} differs between nodes, and engines would not meet; nothing was started"
        raise DplaunchError(
            text, hint=f"dplaunch ranktable --to {table.path} sends one to all", detail=detail
        )
    problems = verify(results[0].out, f"{results[0].node}:{table.path}", site)
    if any(not problem.warning for problem in problems):
        raise SpecError(problems, "the rank table")


def _invent(plan: Plan, site: Site) -> str:
    numbers = count()
    address = {node.name: node.address for node in plan.nodes}
    nodes = [_pretend(node.name, address[node.name], node.devices, numbers) for node in site.nodes]
    return make_table(nodes, containers=site.containers)


def _pretend(name: str, address: str, devices: tuple[int, ...], numbers: Iterator[int]) -> NodeDevices:
    found = [Device(number=one, address=_address(next(numbers))) for one in sorted(devices)]
    return NodeDevices(name=name, address=address, devices=tuple(found))


def _address(number: int) -> str:
    """From the range for tests of networks (RFC 2544)."""
    return f"198.18.{number // 254}.{number % 254 + 1}"
