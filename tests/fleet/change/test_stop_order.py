"""In which order processes are stopped: the reverse of starting, the router first."""

from plans import a_plan, a_process

from dplaunch.fleet.change.stop import order_stops
from dplaunch.model.observed import ObservedProcess, State
from dplaunch.model.plan import Process


def stops(*processes: Process, plan=None):
    planned = plan or a_plan(*processes)
    seen = [
        ObservedProcess(
            name=p.name, kind=p.kind, role=p.role, group=p.group, node=p.node, state=State.RUNNING
        )
        for p in processes
    ]
    return [[one.name for one in wave] for wave in order_stops(planned, seen)]


def test_the_router_then_engines_then_services():
    store = a_process("store", "n1")
    engine = a_process("decode-0", "n2", after=("store",))
    assert stops(store, a_process("router", "n1"), engine) == [["router"], ["decode-0"], ["store"]]


def test_what_started_last_stops_first():
    chain = [
        a_process("serve-0", "n1"),
        a_process("serve-1", "n1", after=("serve-0",)),
        a_process("serve-2", "n1", after=("serve-1",)),
    ]
    assert stops(*chain) == [["serve-2"], ["serve-1"], ["serve-0"]]


def test_what_is_no_longer_planned_stops_with_the_engines():
    engine = a_process("decode-0", "n1")
    left = a_process("decode-9", "n1")
    assert stops(engine, left, plan=a_plan(engine)) == [["decode-0", "decode-9"]]
