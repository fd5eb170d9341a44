"""Out of service before a stop: how long what runs is waited for."""

import json

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.fleet.drain import drain, requests_on
from dplaunch.fleet.job import connect_all
from dplaunch.fleet.observe import observe
from dplaunch.model.event import Note, PhaseEnded
from dplaunch.router import members, metrics
from dplaunch.router.state import State

PLAN = a_plan(a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("router", "n1"))
MEMBERS = [
    {"name": name, "role": "decode", "group": f"decode/{name}", "url": "http://n2:1", "state": "serving"}
    for name in ("decode-0", "decode-1", "decode-10")
]


def page(**requests):
    """What a router of several workers says: one worker's own numbers and those the others left."""
    own, other = State(), {}
    own.apply(members.parse(json.dumps({"format": 2, "flow": "pull", "members": MEMBERS})))
    for name, (here, there) in requests.items():
        member = own.members[name.replace("_", "-")]
        member.requests = here
        labels = {"member": member.entry.name, "role": member.entry.role, "group": member.entry.group}
        other[metrics.series("dprouter_member_requests", **labels)] = there
    return metrics.text(metrics.added([metrics.shared(metrics.Metrics(), own), other]))


def test_what_runs_on_an_engine_is_counted_over_all_workers_of_the_router():
    seen = page(decode_0=(1, 2), decode_1=(0, 4), decode_10=(7, 0))
    assert requests_on(seen, {"decode-0", "decode-1"}) == 7
    assert requests_on(seen, {"decode-10"}) == 7
    assert requests_on("no page of a router", {"decode-0"}) == 0


IDLE, ELSEWHERE, BUSY = page(), page(decode_1=(3, 3)), page(decode_0=(0, 3))
SILENT = {"status": None, "error": "timed out"}


@pytest.mark.parametrize(
    ("pages", "step", "seconds", "notes"),
    [
        ([IDLE], 1, 2, []),
        ([ELSEWHERE], 1, 2, []),
        ([BUSY, IDLE], 1, 3, []),
        ([IDLE, BUSY, IDLE], 1, 4, []),  # the other workers' counts come late
        ([SILENT, IDLE], 1, 3, []),
        ([BUSY], 15, 30, ["3 requests still ran after 30 s; they are cut off"]),
        ([SILENT], 15, 30, ["the router did not say what still ran; it is cut off"]),
    ],
)
def test_engines_count_as_drained_when_no_worker_has_had_a_request_for_a_while(pages, step, seconds, notes):
    node = FakeNode("n1", metrics={"router": pages}).observed("router").observed("prefill-0")
    stage = Scene(PLAN, node, FakeNode("n2").observed("decode-0"), step=step)
    connect_all(stage.job)
    drain(stage.job, observe(stage.job), {"decode-0"})
    assert [note.text for note in stage.of(Note)] == notes
    [took] = [e.seconds for e in stage.of(PhaseEnded) if e.phase == "drain"]
    assert took == pytest.approx(seconds, abs=0.5)
