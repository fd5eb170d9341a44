"""What is concluded from one process alone."""

import pytest

from dplaunch.model.observed import ObservedEndpoint, ObservedProcess, State, ending


def process(state=State.RUNNING, *healthy: bool | None, kind="engine", **fields):
    endpoints = tuple(ObservedEndpoint(name=f"serve-{n}", healthy=answer) for n, answer in enumerate(healthy))
    return ObservedProcess(
        name="serve@n1", kind=kind, role="serve", group="serve/0", node="n1", state=state, endpoints=endpoints, **fields
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "healthy", "serves"),
    [
        (process(State.RUNNING, True, True), True, True),
        (process(State.UNGUARDED, True), True, True),
        (process(State.RUNNING, True, False), False, False),
        (process(State.RUNNING, True, None), None, False),
        (process(State.STOPPING, True), True, False),
        (process(State.EXITED, None), None, False),
        (process(State.RUNNING, kind="service"), None, True),
        (process(State.EXITED, kind="service"), None, False),
        (process(State.RUNNING, kind="job"), None, False),
        (process(State.DONE, kind="job"), None, True),
        (process(State.EXITED, kind="job"), None, False),
        (process(State.INCOMPATIBLE, None), None, False),
    ],
)
def test_a_process_serves_when_all_its_endpoints_do_and_a_job_when_it_is_done(seen, healthy, serves):
    assert (seen.healthy, seen.serves) == (healthy, serves)


def test_each_endpoint_is_asked_by_name():
    seen = process(State.RUNNING, True, False)
    assert [seen.endpoint_serves(name) for name in ("serve-0", "serve-1", "serve-2")] == [True, False, False]
    assert not process(State.EXITED, True).endpoint_serves("serve-0")


@pytest.mark.parametrize(
    ("state", "left", "alive"),
    [
        (State.RUNNING, (), True),
        (State.UNGUARDED, (), True),
        (State.STOPPING, (), True),
        (State.INCOMPATIBLE, (), True),
        (State.EXITED, (), False),
        (State.EXITED, (7,), True),
        (State.DONE, (), False),
        (State.STOPPED, (7,), True),
        (State.FOREIGN, (), False),
    ],
)
def test_what_may_still_run_is_alive(state, left, alive):
    assert process(state, left=left).alive is alive


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"exit_code": 1}, "exited with code 1"),
        ({"exit_code": -9, "signal": "SIGKILL"}, "killed by SIGKILL"),
        ({}, "exited"),
        ({"how": "rebooted", "exit_code": 1}, "ended when the machine rebooted"),
    ],
)
def test_how_it_ended_in_words(fields, words):
    assert process(State.EXITED, **fields).ending == words


def test_an_end_in_words_needs_no_process():
    assert (ending(0, ""), ending(None, "SIGTERM")) == ("exited with code 0", "killed by SIGTERM")
