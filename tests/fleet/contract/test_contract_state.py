"""What every driver must do alike: state of nodes, files, lock, trail."""

import pytest
from msgspec.structs import replace

from dplaunch.errors import DplaunchError, LockedError
from dplaunch.model.observed import State
from dplaunch.model.plan import File
from dplaunch.model.trail import Entry, Result

ENTRY = Entry(
    at=1.0, who="ada@desk", verb="up", result=Result.READY, revision="r1", started=2, phases={"load": 3.5}
)


def with_files(plan, *files: File):
    return replace(plan, nodes=tuple(replace(node, files=files) for node in plan.nodes))


def start(plan, driver):
    results = driver.start(plan, [process.place for process in plan.processes], {})
    assert [one.refusal for one in results] == [None] * len(results)
    return results


def only(driver, **how):
    [process] = driver.observe(**how).processes
    return process


def test_a_node_that_nothing_was_ever_sent_to_is_empty(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"))
    [node] = driver.observe().nodes
    assert (node.name, node.revision, node.processes, node.lock, node.last) == ("n1", "", (), None, None)
    hello = driver.hello("n1")
    assert (bool(hello.hostname), hello.writable, hello.problem) == (True, True, "")
    assert abs(hello.clock - node.clock) < 60
    assert driver.ahead() == {"n1": 0.0}


def test_what_was_put_is_there_with_its_revision(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    plan = with_files(plan, File("run.sh", "exec toy\n", 0o755))
    assert driver.put(plan, {"n2"}) == {}
    assert [node.revision for node in driver.observe().nodes] == ["", "r1"]
    assert driver.read("n2", "run.sh").text == "exec toy\n"
    assert driver.read("n1", "run.sh").text is None


def test_a_file_is_written_and_read_and_one_that_is_missing_has_no_text(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"))
    assert driver.write({"n1": File("fingerprint.json", '{"day": "ü"}')}) == {}
    seen = driver.read("n1", "fingerprint.json")
    assert (seen.path, seen.text, bool(seen.sha)) == ("fingerprint.json", '{"day": "ü"}', True)
    none = driver.read("n1", "router/none.json")
    assert (none.path, none.text, none.sha) == ("router/none.json", None, "")


def test_a_file_is_swapped_only_while_it_is_what_was_seen(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    other = world.launcher(plan)
    other.open()
    none = driver.read("n1", "router/members.json")
    assert driver.swap("n1", File("router/members.json", "first"), none) is True
    assert other.swap("n1", File("router/members.json", "too late"), none) is False
    first = other.read("n1", "router/members.json")
    assert first.text == "first"
    assert other.swap("n1", File("router/members.json", "second"), first) is True
    assert driver.swap("n1", File("router/members.json", "too late"), first) is False
    assert driver.read("n1", "router/members.json").text == "second"


def test_what_runs_is_seen_with_what_the_plan_gave_it(world, opened):
    parent = world.a_process(
        "decode@n1",
        "n1",
        kind="engine",
        role="decode",
        group="decode/0",
        endpoints=["decode-0", "decode-1"],
        fingerprint="f1",
    )
    plan, driver = opened(parent)
    [result] = start(plan, driver)
    one = only(driver)
    assert (one.name, one.kind, one.role, one.group, one.node) == (
        "decode@n1",
        "engine",
        "decode",
        "decode/0",
        "n1",
    )
    assert (one.state, one.pid, one.fingerprint, one.ports) == (State.RUNNING, result.pid, "f1", parent.ports)
    assert [(e.name, e.url, e.healthy) for e in one.endpoints] == [
        (e.name, e.url, None) for e in parent.endpoints
    ]
    assert one.pid > 0
    assert one.log


def test_health_is_asked_of_every_endpoint_where_it_is_wanted(world, opened, heard):
    place = ("n1", "serve-0")
    plan, driver = opened(world.a_process("serve-0", "n1", endpoints=["serve-0", "serve-1"]))
    start(plan, driver)
    world.respond(place, "serve-1", 503)
    health = eventually(
        driver,
        lambda: only(driver, health=True),
        lambda one: one.healthy is False and one.endpoints[0].healthy,
    )
    assert [(e.name, e.healthy) for e in health.endpoints] == [("serve-0", True), ("serve-1", False)]
    assert only(driver).healthy is None


def eventually(driver, look, found):
    for _ in range(100):
        seen = look()
        if found(seen):
            return seen
        driver.pause(0.1)
    raise AssertionError(f"never; last {seen}")


def test_the_lock_has_one_holder_and_is_free_again_after_it(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    other = world.launcher(plan)
    other.open()
    with driver.locked("ada@desk", "up"):
        lock = other.observe().nodes[0].lock
        assert (lock.holder, lock.verb) == ("ada@desk", "up")
        with pytest.raises(LockedError, match="ada@desk"), other.locked("bob@b", "down"):
            pass
    eventually(driver, lambda: driver.observe().nodes[0].lock, lambda lock: lock is None)
    with other.locked("bob@b", "down"):
        assert driver.observe().nodes[0].lock.holder == "bob@b"
    eventually(driver, lambda: driver.observe().nodes[0].lock, lambda lock: lock is None)
    assert driver.lock_node() == other.lock_node() == "n1"


def test_the_trail_is_kept_and_its_last_line_is_seen(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    for number in range(3):
        driver.record(replace(ENTRY, at=float(number)))
    assert driver.trail(2) == (replace(ENTRY, at=1.0), replace(ENTRY, at=2.0))
    assert [node.last for node in driver.observe().nodes] == [replace(ENTRY, at=2.0), None]


def test_what_has_ended_is_forgotten_and_what_runs_keeps_its_node(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    driver.put(plan, {"n1", "n2"})
    start(plan, driver)
    driver.stop([("n1", "serve-0")], 5.0, lambda _: None, patient=True)
    driver.forget()
    first, second = driver.observe().nodes
    assert (first.processes, first.revision) == ((), "")
    assert ([one.name for one in second.processes], second.revision) == (["serve-1"], "r1")


def test_a_node_that_is_lost_is_unreachable_until_it_is_opened_again(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    start(plan, driver)
    lose(driver, "n1")
    assert list(driver.reached) == ["n2"]
    observed = driver.observe(health=True)
    assert [node.name for node in observed.nodes] == ["n2"]
    assert list(observed.unreached) == list(driver.unreached) == ["n1"]
    assert set(driver.put(plan, {"n1", "n2"})) == {"n1"}
    [refused] = driver.start(plan, [("n1", "serve-0")], {})
    assert refused.refusal.kind == "unreachable"
    assert driver.stop([("n1", "serve-0")], 5.0, lambda _: None, patient=True) == ()
    assert driver.watch("n1", [], [], {}) is None
    with pytest.raises(DplaunchError):
        driver.read("n1", "x")
    driver.open({"n1"})
    assert driver.unreached == {}
    assert {one.name: one.state for one in driver.observe().processes} == {
        "serve-0": State.RUNNING,
        "serve-1": State.RUNNING,
    }


def lose(driver, node):
    """The link breaks."""
    if hasattr(driver, "sessions"):
        driver.sessions[node].close()
        driver.listen(lambda _: None, until=lambda: node not in driver.reached, deadline=driver.clock() + 10)
    else:
        driver.lose(node)
