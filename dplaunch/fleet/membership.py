"""The router's members file on its node: which endpoints exist, and which of their groups are open.

It is edited, never replaced by the plan's: another change may have taken a group out meanwhile. An edit is
written only where the file still is what was read, so that two changes at once never undo each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Literal

from msgspec.structs import replace

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job
from dplaunch.model.plan import ROUTER, Api, Endpoint
from dplaunch.model.remote import HttpRequest
from dplaunch.model.summary import RouterReport

MemberState = Literal["held", "proving", "serving", "draining"]
"""``held``: reachable for the proof only. ``proving``: held until the router itself has proved it."""
TRIES = 20

_Document = dict[str, Any]


def set_state(job: Job, groups: Collection[str], state: MemberState) -> bool:
    """Put every endpoint of ``groups`` into ``state``, the others keep theirs; False without a file to edit.

    Does nothing with a foreign router, which keeps its own list.
    """
    return _change(job, lambda member: state if member["group"] in groups else member["state"])


def release(job: Job, groups: Collection[str]) -> None:
    """The launcher leaves: the router opens those of ``groups`` that are closed, once it has proved them."""

    def state_of(member: _Document) -> str:
        closed = member["group"] in groups and member["state"] in ("held", "draining")
        return "proving" if closed else str(member["state"])

    _change(job, state_of)


def align(job: Job, groups: Collection[str], state: MemberState) -> bool:
    """Make the file list what the plan has; ``groups`` come into ``state``, others keep theirs.

    An endpoint that the file did not list is held.
    """
    planned = _parse(job.plan.members.text) if job.plan.members else {}

    def edit(document: _Document) -> _Document:
        known = {member["name"]: member for member in document["members"]}

        def state_of(member: _Document) -> str:
            if member["group"] in groups:
                return state
            before = known.get(member["name"], {})
            same = before.get("url") == member["url"]
            return str(before.get("state")) if same else "held"

        return {**planned, "members": [{**m, "state": state_of(m)} for m in planned["members"]]}

    return _edit(job, edit, create=True) if planned else False


def read_states(job: Job) -> dict[str, str]:
    """Group → state at the router; empty where the router is foreign or has no file yet."""
    return {member["group"]: member["state"] for member in _members(job)}


def read_report(job: Job) -> RouterReport:
    """What the router reports of its groups: only its file where it does not respond, nothing without one."""
    try:
        states = read_states(job)
    except DplaunchError:
        return RouterReport()
    seen, skipped = _ask_members(job) if states else ([], 0)
    stuck = {member["name"]: member["stuck"] for member in seen if member.get("stuck")}
    states |= {member["group"]: "serving" for member in seen}
    states |= {member["group"]: member["state"] for member in seen if member["state"] != "serving"}
    explained = {member["group"] for member in seen if member.get("stuck")}
    closed = (group for group, state in states.items() if state != "serving" and group not in explained)
    return RouterReport(closed=tuple(closed), stuck=stuck, skipped_prefill=skipped)


def _ask_members(job: Job) -> tuple[list[_Document], int]:
    """The members as the router sees them (its file does not say what it found), and what skipped prefill."""
    router = job.plan.router_process
    if router is None:
        return [], 0
    question = HttpRequest(key=ROUTER, node=router.node, url=f"{router.endpoints[0].url}/members")
    reply = job.driver.ask([question]).get(ROUTER)
    if reply is None or reply.status != HTTPStatus.OK:
        return [], 0
    try:
        report = json.loads(reply.body)
        members = [
            m for m in report["members"] if isinstance(m["group"], str) and isinstance(m["state"], str)
        ]
        return members, int(report.get("skipped_prefill", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [], 0  # not our router's words


def read_endpoints(job: Job, groups: Collection[str]) -> tuple[Endpoint, ...]:
    """The endpoints of ``groups`` as the router knows them, planned or not, to be asked from its node."""
    router = job.plan.router_process
    return tuple(
        Endpoint(
            name=member["name"],
            role=member["role"],
            group=member["group"],
            node=router.node,
            url=member["url"],
            api=Api(**member.get("api", {})),
        )
        for member in _members(job)
        if router is not None and member["group"] in groups
    )


def _members(job: Job) -> list[_Document]:
    router = job.plan.router_process
    if job.plan.members is None or router is None or router.node not in job.driver.reached:
        return []
    seen = job.driver.read(router.node, job.plan.members.path)
    members: list[_Document] = _parse(seen.text)["members"]
    return members


def _change(job: Job, state_of: Callable[[_Document], str]) -> bool:
    """Give every member a state; False without a file to edit."""

    def edit(document: _Document) -> _Document:
        return {**document, "members": [{**m, "state": state_of(m)} for m in document["members"]]}

    return _edit(job, edit, create=False)


def _edit(job: Job, edit: Callable[[_Document], _Document], *, create: bool) -> bool:
    router, planned = job.plan.router_process, job.plan.members
    if router is None or planned is None:
        return False
    for _ in range(TRIES):
        seen = job.driver.read(router.node, planned.path)
        document = _parse(seen.text)
        if not document["members"] and not create:
            return False
        text = json.dumps(edit(document), indent=1) + "\n"
        if text == seen.text or job.driver.swap(router.node, replace(planned, text=text), seen):
            return True
    raise DplaunchError(
        f"{planned.path} on {router.node} keeps changing: it could not be written in {TRIES} tries",
        hint="another change is under way; look with `dplaunch lock`",
    )


def _parse(text: str | None) -> _Document:
    """The members file; without members where it is missing or damaged, for then it says nothing."""
    try:
        document: _Document = json.loads(text or "{}")
        wanted = ("name", "role", "group", "state", "url")
        whole = all(isinstance(member[key], str) for member in document["members"] for key in wanted)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    return document if whole else {"members": []}
