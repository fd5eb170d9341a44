"""What every driver must do alike: processes that start, respond, end and are stopped."""

import pytest
from msgspec.structs import replace

from dplaunch.model.observed import State
from dplaunch.model.plan import Place, Ready
from dplaunch.model.remote import (
    HealthSeen,
    HttpRequest,
    LineSeen,
    Pattern,
    ProcessExited,
    StreamEnded,
)
from dplaunch.wire.requests import READY_LINE

SERVE = ("n1", "serve-0")
STAGE = Pattern("stage:0", r"shards: +(?P<percent>[0-9]+)%")


def start(plan, driver):
    results = driver.start(plan, [process.place for process in plan.processes], {})
    assert [one.refusal for one in results] == [None] * len(results)


def watch(plan, driver, heard, *patterns: Pattern):
    """All processes of the plan are started and watched."""
    start(plan, driver)
    seen = heard(driver)
    for node in plan.nodes:
        assert driver.watch(node.name, node.processes, patterns, {}) is not None
    return seen


def states(driver):
    return {one.name: one.state for one in driver.observe().processes}


def exits(signals):
    return [signal for signal in signals if isinstance(signal, ProcessExited)]


def stop(driver, *places: Place, grace=5.0, patient=True):
    """Name → verdict; each was given as it came."""
    given = []
    verdicts = driver.stop(places, grace, given.append, patient=patient)
    assert sorted(one.process for one in given) == sorted(one.process for one in verdicts)
    return {one.process: one for one in verdicts}


def test_a_start_answers_for_every_process_it_was_asked_for(world, opened):
    plan, driver = opened(*(world.a_process(f"serve-{n}", f"n{1 + n % 2}") for n in range(3)))
    results = driver.start(plan, [("n1", "serve-0"), ("n2", "serve-1")], {})
    assert sorted((one.node, one.process, one.pid > 0) for one in results) == [
        ("n1", "serve-0", True),
        ("n2", "serve-1", True),
    ]
    assert states(driver) == {"serve-0": State.RUNNING, "serve-1": State.RUNNING}


def test_what_runs_is_not_started_again(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    start(plan, driver)
    [result] = driver.start(plan, [SERVE], {})
    assert (result.pid, result.refusal.kind) == (0, "running")


def test_a_process_takes_over_from_the_one_that_runs_and_is_refused_where_none_does(world, opened):
    relay = world.a_process("relay", "n1", kind="service", endpoints=(), hands_over=True)
    plan, driver = opened(relay)
    [refused] = driver.start(plan, [relay.place], {}, {relay.place: 5.0})
    assert refused.refusal.kind == "handover"
    start(plan, driver)
    [result] = driver.start(plan, [relay.place], {}, {relay.place: 5.0})
    assert (result.pid > 0, result.refusal) == (True, None)
    [seen] = driver.observe().processes
    assert (seen.state, seen.pid, seen.restarts, seen.hands_over) == (State.RUNNING, result.pid, 0, True)


def test_a_port_that_is_taken_refuses_the_start_of_its_process_alone(world, opened):
    held, free = world.a_process("serve-0", "n1"), world.a_process("serve-1", "n1")
    plan, driver = opened(held, free)
    world.hold(held.ports[0])
    results = {one.process: one.refusal for one in driver.start(plan, [held.place, free.place], {})}
    assert results["serve-0"].kind == "port-taken"
    assert str(held.ports[0]) in results["serve-0"].text
    assert results["serve-1"] is None
    assert states(driver) == {"serve-1": State.RUNNING}


def test_a_program_that_is_missing_refuses_the_start_and_leaves_no_state(world, opened):
    plan, driver = opened(replace(world.a_process("serve-0", "n1"), argv=("/no/such/program",)))
    [result] = driver.start(plan, [SERVE], {})
    assert (result.pid, result.refusal.kind) == (0, "exec")
    assert driver.observe().processes == ()


def test_a_stop_has_a_verdict_and_the_process_is_stopped(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    start(plan, driver)
    verdict = stop(driver, SERVE)["serve-0"]
    assert (verdict.node, verdict.how, verdict.left) == ("n1", "TERM", ())
    assert states(driver) == {"serve-0": State.STOPPED, "serve-1": State.RUNNING}
    assert "not running" in stop(driver, SERVE)["serve-0"].how


def test_what_does_not_end_is_killed_after_its_grace(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    start(plan, driver)
    world.ignore(SERVE)
    assert stop(driver, SERVE, grace=0.3, patient=False)["serve-0"].how == "KILL"
    assert states(driver) == {"serve-0": State.STOPPED}


def test_in_a_hurry_the_grace_is_skipped(world, opened):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    start(plan, driver)
    world.ignore(SERVE)
    began = driver.clock()

    def press():
        driver.hurry([SERVE])
        return True

    driver.on_interrupt = press
    driver.interrupt()
    assert stop(driver, SERVE, grace=60.0, patient=False)["serve-0"].how == "KILL"
    assert driver.clock() - began < 30.0


def test_an_exit_is_reported_with_its_code_and_the_end_of_the_log(world, opened, heard):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    seen = watch(plan, driver, heard)
    world.say(SERVE, *(f"line {n}" for n in range(60)))
    world.end(SERVE, 3)
    seen.until(exits)
    [exited] = seen.of(ProcessExited)
    assert (exited.node, exited.process, exited.code, exited.signal) == ("n1", "serve-0", 3, "")
    assert (exited.done, exited.again) == (False, False)
    assert exited.tail[-2:] == ("line 58", "line 59")
    assert exited.log
    [one] = driver.observe().processes
    assert (one.state, one.exit_code) == (State.EXITED, 3)


def test_a_process_that_is_killed_has_a_signal_and_no_code(world, opened, heard):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    seen = watch(plan, driver, heard)
    world.die(SERVE)
    seen.until(exits)
    [exited] = seen.of(ProcessExited)
    assert (exited.code, exited.signal) == (None, "SIGKILL")
    assert driver.observe().processes[0].signal == "SIGKILL"


def test_a_stop_is_an_exit_for_those_that_watch(world, opened, heard):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    start(plan, driver)
    other = world.launcher(plan)
    other.open()
    seen = heard(other)
    other.watch("n1", plan.processes, [], {})
    stop(driver, SERVE)
    seen.until(exits)
    assert [one.signal for one in seen.of(ProcessExited)] == ["SIGTERM"]


def test_lines_that_match_are_reported_once_with_their_groups_and_a_later_watch_sees_the_past(
    world, opened, heard
):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    seen = watch(plan, driver, heard, STAGE)
    world.say(SERVE, "hello", "loading shards: 40% of 8")
    seen.until(lambda signals: any(isinstance(one, LineSeen) for one in signals))
    world.say(SERVE, "loading shards: 80% of 8")
    seen.until(lambda signals: len([one for one in signals if isinstance(one, LineSeen)]) == 2)
    lines = seen.of(LineSeen)
    assert [(one.node, one.process, one.pattern) for one in lines] == [("n1", "serve-0", "stage:0")] * 2
    assert [one.text for one in lines] == ["loading shards: 40% of 8", "loading shards: 80% of 8"]
    assert [one.groups["percent"] for one in lines] == ["40", "80"]
    other = world.launcher(plan)
    other.open()
    later = heard(other)
    other.watch("n1", plan.processes, [STAGE], {})
    later.until(lambda signals: len([one for one in signals if isinstance(one, LineSeen)]) == 2)


def test_the_line_that_makes_a_process_ready_is_reported_as_such(world, opened, heard):
    ready = Ready("line", r"joined the group of \d+")
    plan, driver = opened(world.a_process("serve-0", "n1", endpoints=(), ready=ready))
    seen = watch(plan, driver, heard)
    world.say(SERVE, "joined nothing", "rank 1 joined the group of 2")
    seen.until(lambda signals: any(isinstance(one, LineSeen) for one in signals))
    assert [(one.pattern, one.text) for one in seen.of(LineSeen)] == [
        (READY_LINE, "rank 1 joined the group of 2")
    ]


def test_health_is_reported_for_each_endpoint_when_it_changes(world, opened, heard):
    plan, driver = opened(world.a_process("serve-0", "n1", endpoints=["serve-0", "serve-1"]))
    seen = watch(plan, driver, heard)

    def last(endpoint):
        found = [one for one in seen.of(HealthSeen) if one.endpoint == endpoint]
        return (found[-1].ok, found[-1].named, found[-1].status) if found else None

    seen.until(lambda _: last("serve-0") == last("serve-1") == (True, True, 200))
    world.respond(SERVE, "serve-1", 503)
    seen.until(lambda _: last("serve-1") == (False, False, 503))
    assert last("serve-0") == (True, True, 200)
    world.respond(SERVE, "serve-1", 200, model="another")
    seen.until(lambda _: last("serve-1") == (True, False, 200))
    assert {(one.node, one.process) for one in seen.of(HealthSeen)} == {("n1", "serve-0")}


def test_a_job_that_ends_with_0_is_done_and_with_another_code_has_failed(world, opened, heard):
    good, bad = (
        world.a_process(name, "n1", endpoints=(), kind="job", ready=Ready("exit")) for name in ("good", "bad")
    )
    plan, driver = opened(good, bad)
    seen = watch(plan, driver, heard)
    world.end(good.place, 0)
    world.end(bad.place, 2)
    seen.until(lambda signals: len(exits(signals)) == 2)
    assert {one.process: (one.code, one.done) for one in exits(seen.signals)} == {
        "good": (0, True),
        "bad": (2, False),
    }
    assert states(driver) == {"good": State.DONE, "bad": State.EXITED}
    assert driver.observe().processes[0].alive is False
    [result] = driver.start(plan, [good.place], {})
    assert result.refusal is None  # it may run again


def test_a_service_that_ends_is_started_again(world, opened, heard):
    plan, driver = opened(world.a_process("router", "n1", restarts=True))
    seen = watch(plan, driver, heard)
    world.end(("n1", "router"), 1)
    seen.until(exits)
    [exited] = seen.of(ProcessExited)
    assert (exited.code, exited.again) == (1, True)
    [one] = driver.observe().processes
    assert (one.state, one.restarts) == (State.RUNNING, 1)


def test_a_watch_that_is_cancelled_ends(world, opened, heard):
    plan, driver = opened(world.a_process("serve-0", "n1"))
    start(plan, driver)
    stream = driver.watch("n1", plan.processes, [], {})
    driver.cancel(stream)
    seen = heard(driver)
    seen.until(lambda _: stream in [one.stream for one in seen.of(StreamEnded)])
    assert {one.refusal for one in seen.of(StreamEnded)} == {None}


def test_http_is_asked_on_the_node_and_told_by_key(world, opened):
    process = world.a_process("serve-0", "n1")
    plan, driver = opened(process)
    start(plan, driver)
    url = process.endpoints[0].url
    until_it_answers(driver, url)
    asked = [
        HttpRequest(key="text", node="n1", url=f"{url}/v1/completions", method="POST", body="{}"),
        HttpRequest(key="page", node="n1", url=f"{url}/metrics", grep="^toy:running"),
    ]
    replies = driver.ask(asked)
    assert {key: (one.status, one.error) for key, one in replies.items()} == {
        "text": (200, ""),
        "page": (200, ""),
    }
    assert "Rome" in replies["text"].body
    assert [line.split("{")[0].split()[0] for line in replies["page"].body.splitlines()] == ["toy:running"]


def test_what_does_not_answer_has_no_status_and_a_reason(world, opened):
    process = world.a_process("serve-0", "n1")
    plan, driver = opened(process)
    start(plan, driver)
    stop(driver, SERVE)
    url = f"{process.endpoints[0].url}/health"
    [reply] = driver.ask([HttpRequest(key="gone", node="n1", url=url)]).values()
    assert reply.status is None
    assert reply.error


def until_it_answers(driver, url):
    for _ in range(100):
        [reply] = driver.ask([HttpRequest(key="up", node="n1", url=f"{url}/health")]).values()
        if reply.status == 200:
            return
        driver.pause(0.1)
    raise AssertionError(reply)


def test_commands_are_run_on_every_node_that_is_reached(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    results = driver.execute(("n2", "n1"), ["echo", "hello"], 10.0)
    assert [(one.node, one.code, one.out.strip(), one.problem) for one in results] == [
        ("n1", 0, "hello", ""),
        ("n2", 0, "hello", ""),
    ]


def test_each_node_runs_a_command_of_its_own(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    results = driver.execute_each({"n2": ["echo", "two"], "n1": ["echo", "one"]}, 10.0)
    assert [(one.node, one.out.strip()) for one in results] == [("n1", "one"), ("n2", "two")]


def test_a_node_that_is_reached_anew_keeps_its_lock(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"), world.a_process("serve-1", "n2"))
    with driver.locked("ada", "up"):
        driver.reopen(["n1"], outside=True)
        driver.reopen(["n1"], outside=False)
        until_locked_again(driver, "n1")
    assert (set(driver.reached), driver.unreached) == ({"n1", "n2"}, {})


def until_locked_again(driver, name):
    for _ in range(100):
        [lock] = [node.lock for node in driver.observe().nodes if node.name == name]
        if lock is not None:
            return
        driver.pause(0.1)
    raise AssertionError(f"{name} is not locked")


def test_ports_are_opened_for_others_to_try(world, opened):
    _, driver = opened(world.a_process("serve-0", "n1"))
    with driver.listening({"n1": ("127.0.0.1", [])}, 2, 30.0) as found:
        first, second = found["n1"].random
        results = driver.connect({"n1": [("a", "127.0.0.1", first), ("b", "127.0.0.1", second)]}, 3.0, 15.0)
    assert {one.key: one.error for one in results} == {"a": "", "b": ""}


@pytest.mark.parametrize("aside", [False, True])
def test_a_survey_answers_every_command(world, opened, aside):
    _, driver = opened(world.a_process("serve-0", "n1"))
    command = {"key": "k", "argv": ["true"], "timeout": 5.0, "lane": "", "again": ""}
    survey = {"n1": {"commands": [command], "ports": [], "address": "", "titles": [], "limit": 20.0}}
    found = {}
    if aside:
        driver.survey_aside(survey, found.__setitem__)
        driver.listen(lambda _: None, until=lambda: "n1" in found, deadline=driver.clock() + 20.0)
    else:
        found = driver.survey(survey, 20.0, lambda *_: None)
    [(key, result)] = found["n1"].results
    assert (key, result["code"], result["problem"]) == ("k", 0, "")
