"""Start the containers in which a change starts processes; say before what that takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.containers.images import bring, plan_images
from dplaunch.fleet.containers.judge import IMAGE, judge
from dplaunch.fleet.containers.look import explain, is_current, is_inside, look, started_by_us
from dplaunch.fleet.containers.remove import remove_from_outside
from dplaunch.fleet.job import Job, need_all, phase
from dplaunch.model.check import Finding, Level, fold_findings
from dplaunch.model.container import Preparation
from dplaunch.model.observed import Observed
from dplaunch.model.plan import CONTAINER, File, NodePlan
from dplaunch.model.step import StepKind, Wave
from dplaunch.ranges import fold, grouped
from dplaunch.words import plural

TIMEOUT = 120.0
_MEMLOCK = "rlimit type 8"
"""What runc names where a user without root may not lock as much memory as RDMA needs."""


def foresee(job: Job, waves: Iterable[Wave], observed: Observed) -> Preparation:
    """What starting these waves takes. Raises DplaunchError where it cannot work; changes nothing."""
    starting: set[str] = set()
    for wave in waves:
        stale = _stale(job, {node for node, _ in wave.places(StepKind.START)} - starting)
        _need_alone(job, stale, wave, observed)
        starting |= stale.keys()
    nodes = {name: node for name, node in started_by_us(job).items() if name in starting}
    if not nodes:
        return Preparation()
    boxes = look(job, nodes.values())
    _need_fine(judge(nodes, boxes, _running(job, nodes)))
    replaced = tuple(name for name, box in boxes.items() if box.state)
    started = tuple(name for name in nodes if name not in replaced)
    return replace(plan_images(nodes, boxes), started=started, replaced=replaced)


def is_replaced(job: Job, name: str) -> bool:
    """Whether the container of a node has to be started (again) before a process starts there."""
    return bool(_stale(job, [name]))


def start_containers(job: Job, names: Collection[str]) -> None:
    """Start the containers of these nodes where the plan's does not run yet; then sessions run inside.

    Files outside the node's folder are put only then: they belong into the container.
    """
    nodes = _stale(job, names)
    if not nodes:
        return
    job.driver.reopen([name for name in nodes if is_inside(job, name)], outside=True)
    need_all(job)
    boxes = look(job, nodes.values())
    _need_fine(judge(nodes, boxes))
    lacking = [name for name, box in boxes.items() if not box.image]
    if lacking:
        bring(job, nodes, boxes)
        boxes |= look(job, [nodes[name] for name in lacking])
        _need_fine(f for f in judge(nodes, boxes, _running(job, nodes)) if f.probe == IMAGE)
    with phase(job, "container", plural(len(nodes), "container")):
        kept = remove_from_outside(job, nodes)
        _need_none(kept, "remove the old container", "remove it there, then run the command again")
        for error in job.driver.write({name: _script(node) for name, node in nodes.items()}).values():
            raise error
        results = job.driver.execute_each(dict.fromkeys(nodes, ("sh", CONTAINER)), TIMEOUT)
        failed = {result.node: explain(result) for result in results if result.code != 0}
        _need_none(failed, "start its container", _how_to_start(failed.values()))
        _enter(job, nodes)
    _need_running(job, nodes)


def _enter(job: Job, nodes: Mapping[str, NodePlan]) -> None:
    """Lead the sessions of these nodes into their new containers. Raises DplaunchError where that fails.

    A container that cannot be entered, as without Python, would hide its machine from every later command.
    """
    job.driver.reopen(list(nodes), outside=False)
    try:
        need_all(job)
    except DplaunchError:
        job.driver.reopen(list(nodes), outside=True)
        remove_from_outside(job, nodes)
        raise


def _how_to_start(reasons: Iterable[str]) -> str:
    if any(_MEMLOCK in why for why in reasons):
        return "let the user lock memory: `* - memlock unlimited` in /etc/security/limits.conf; log in again"
    return "`dplaunch plan` prints the command; correct runtime.args"


def _script(node: NodePlan) -> File:
    return next(file for file in node.files if file.path == CONTAINER)


def _stale(job: Job, names: Collection[str]) -> dict[str, NodePlan]:
    """Those of these nodes whose container has to be started, or started again."""
    ours = started_by_us(job)
    return {name: node for name, node in ours.items() if name in names and not is_current(job, node)}


def _running(job: Job, besides: Collection[str]) -> dict[str, str]:
    """Node → id of the image of its container, for all that run and keep running."""
    others = started_by_us(job).keys() & set(job.driver.reached) - set(besides)
    return {name: job.driver.hello(name).image for name in sorted(others) if is_inside(job, name)}


def _need_alone(job: Job, nodes: Mapping[str, NodePlan], wave: Wave, observed: Observed) -> None:
    """What this wave does not stop would end with the container that it replaces."""
    stopping = wave.places(StepKind.STOP) | wave.places(StepKind.START)
    for name in (name for name in nodes if is_inside(job, name)):
        others = [
            p.name for p in observed.processes if p.alive and p.node == name and p.place not in stopping
        ]
        if others:
            raise DplaunchError(
                f"the container of {name} has to be started again, and {fold(others)} would end with it; "
                "nothing was changed",
                hint="`dplaunch up` without a target restarts everything in it at once",
            )


def _need_fine(findings: Iterable[Finding]) -> None:
    wrong = fold_findings(finding for finding in findings if finding.level is Level.FAIL)
    if wrong:
        first, *more = (f"{fold(nodes)}: {finding.text}" for finding, nodes in wrong)
        raise DplaunchError(f"{first}; nothing was started", hint=wrong[0][0].remedy, detail=tuple(more))


def _need_none(failed: Mapping[str, str], what: str, hint: str) -> None:
    if failed:
        by_reason = grouped((why, name) for name, why in failed.items())
        first, *more = (f"{fold(names)} could not {what}: {why}" for why, names in by_reason.items())
        raise DplaunchError(first, hint=hint, detail=tuple(more))


def _need_running(job: Job, nodes: Mapping[str, NodePlan]) -> None:
    ended = [node for node in nodes.values() if not is_current(job, node)]
    if ended:
        engine = ended[0].container.engine if ended[0].container else ""
        name = ended[0].container.name if ended[0].container else ""
        raise DplaunchError(
            f"the container of {fold(node.name for node in ended)} ended as soon as it had started",
            hint=f"`{engine} logs {name}` on {ended[0].name} shows why",
        )
