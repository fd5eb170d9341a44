"""A job: a process that has ended well when it has exited with code 0."""

import json

import pytest

JOB = {"kind": "exit"}


def ended(client, name, until):
    return until(lambda: (p := client.observe(name))["how"] and p)


def test_a_job_that_exits_with_0_is_done(client, spec, until):
    client.start(spec("load", "sh", "-c", "echo loaded", ready=JOB))
    client.send("watch", processes=[{"name": "load"}])
    seen = ended(client, "load", until)
    assert (seen["state"], seen["exit_code"], seen["how"], seen["ready"]) == ("done", 0, "exited", JOB)
    (event,) = until(lambda: client.events("exit", name="load"))
    assert (event["done"], event["asked"], event["again"], event["tail"]) == (True, False, False, ["loaded"])


def test_a_job_that_fails_has_exited(client, spec, until):
    client.start(
        spec("load", "sh", "-c", "exit 3", ready=JOB), spec("killed", "sh", "-c", "kill -9 $$", ready=JOB)
    )
    client.send("watch", processes=[{"name": "load"}])
    (event,) = until(lambda: client.events("exit", name="load"))
    assert (event["code"], event["done"]) == (3, False)
    assert ended(client, "load", until)["state"] == "exited"
    assert ended(client, "killed", until)["state"] == "exited"


def test_only_a_job_is_done_when_it_exits_with_0(client, spec, until):
    client.start(spec("e-0", "true"))
    assert ended(client, "e-0", until)["state"] == "exited"


def test_a_job_that_was_stopped_is_not_done(client, spec, until):
    client.start(
        spec("load", "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", ready=JOB)
    )
    until((client.root / "proc/load/log").read_text)
    client.stop("load")
    seen = client.observe("load")
    assert (seen["state"], seen["exit_code"]) == ("stopped", 0)


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_is_never_started_again_by_its_guard(client, spec, until, code):
    client.start(
        spec("load", "sh", "-c", f"echo run; exit {code}", ready=JOB, restarts=True, limits={"backoff": 0.01})
    )
    guard = client.state_of("load")["guard"][0]
    seen = ended(client, "load", until)
    until(lambda: not client.state_of("load")["tree"] and client.state_of("load")["phase"] == "done")
    assert seen["guard_pid"] == guard
    assert (client.root / "proc/load/log").read_text() == "run\n"
    assert client.observe("load")["restarts"] == 0


def test_a_job_that_is_done_stays_done_over_a_reboot_and_can_run_again(client, spec, until):
    client.start(spec("load", "true", ready=JOB), spec("cut", "sleep", "60", ready=JOB))
    ended(client, "load", until)
    until(lambda: client.state_of("load")["phase"] == "done")
    states = {name: client.state_of(name) for name in ("load", "cut")}
    client.stop("cut")
    (client.root / "proc/cut/exit.json").unlink()  # as if the power had gone while it ran
    for name, state in states.items():
        path = client.root / "proc" / name / "state.json"
        path.write_text(json.dumps({**state, "boot": "before"}))
    seen = {name: client.observe(name) for name in states}
    assert (seen["load"]["state"], seen["load"]["how"]) == ("done", "exited")
    assert (seen["cut"]["state"], seen["cut"]["how"]) == ("exited", "rebooted")
    assert client.start(spec("load", "sleep", "60", ready=JOB))[0]["ok"]
    assert client.observe("load")["state"] == "running"
    client.stop("load")
    assert client.ask("forget", all=True)["ok"]


def test_what_a_job_leaves_behind_does_not_make_it_fail(client, spec, until, living):
    client.start(spec("load", "sh", "-c", "setsid sleep 60 & sleep 0.2", ready=JOB))
    seen = until(lambda: (p := client.observe("load"))["state"] == "done" and p)
    (left,) = seen["left"]
    assert client.start(spec("load", "true", ready=JOB))[0]["error"]["kind"] == "running"
    client.stop("load", grace=0)
    assert not living(left)
