"""State of a guard that speaks another protocol: shown, never acted on, never called gone."""

import json
import subprocess

import pytest

PIPX = "stop it with that version: pipx run --spec 'dplaunch{}' dplaunch down"


@pytest.fixture
def sleeping():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def old_state(client, living_pid, **more):
    """state.json as a guard of protocol 1 wrote it: no number, no version, the endpoint in ``meta``."""
    start = int(open(f"/proc/{living_pid}/stat").read().rpartition(")")[2].split()[19])  # noqa: SIM115, PTH123
    state = {
        "name": "decode-3",
        "ports": [9003],
        "address": "127.0.0.1",
        "stop": [["TERM", 30], ["KILL", 10]],
        "restarts": False,
        "meta": {"kind": "engine", "role": "decode", "group": "decode/0", "rank": 3, "url": "http://n1:9003"},
        "fingerprint": "f1",
        "host": client.hello["hostname"],
        "boot": client.hello["boot"],
        "guard": [living_pid, start],
        "main": [living_pid, start],
        "phase": "running",
        "signal": "",
        "started_at": 1700000000.5,
        "restart_count": 0,
        "last_exit": None,
        "tree": [[living_pid, start, living_pid]],
        "notes": [],
        **more,
    }
    home = client.root / "proc/decode-3"
    home.mkdir(parents=True, exist_ok=True)
    (home / "state.json").write_text(json.dumps(state))
    return state


def test_a_process_of_protocol_1_is_shown_with_the_command_that_stops_it(client, sleeping):
    state = old_state(client, sleeping.pid)
    seen = client.observe("decode-3", health=True)
    assert (seen["state"], seen["protocol"], seen["meta"]) == ("incompatible", 1, state["meta"])
    assert seen["problem"] == "decode-3 was started by dplaunch 0.1 (guard protocol 1, this version has 2)"
    assert seen["hint"] == PIPX.format("<0.2")
    assert client.ask("survey")["ours"] == [sleeping.pid]


def test_a_process_of_protocol_1_is_left_alone_by_every_verb(client, spec, sleeping, living):
    state = old_state(client, sleeping.pid)
    (refused,) = client.start(spec("decode-3", "true"))
    (verdict,) = client.stop("decode-3", grace=0, ports=True)
    forgotten = [client.ask("forget", names=["decode-3"]), client.ask("forget", all=True, logs=True)]
    for error in (refused["error"], *(reply["error"] for reply in forgotten)):
        assert (error["kind"], error["hint"]) == ("incompatible", PIPX.format("<0.2"))
        assert "dplaunch 0.1" in error["text"]
    assert (verdict["how"], verdict["kind"]) == ("left alone", "incompatible")
    assert verdict["hint"] == PIPX.format("<0.2")
    assert living(sleeping.pid)
    assert client.state_of("decode-3") == state
    assert client.observe("decode-3")["state"] == "incompatible"


def test_others_are_stopped_beside_a_process_of_another_protocol(client, spec, sleeping, living):
    old_state(client, sleeping.pid)
    (result,) = client.start(spec("e-0", "sleep", "60"))
    verdicts = {one["name"]: one for one in client.stop("decode-3", "e-0")}
    assert (verdicts["e-0"]["how"], verdicts["e-0"]["kind"]) == ("TERM", "")
    assert verdicts["decode-3"]["how"] == "left alone"
    assert living(sleeping.pid)
    assert not living(result["pid"])


def test_a_process_of_another_protocol_is_never_called_gone(client, spec, streams, sleeping, until):
    state = old_state(client, sleeping.pid)
    sleeping.kill()
    sleeping.wait()
    client.start(spec("e-0", "true"))
    client.send("watch", processes=[{"name": "decode-3"}, {"name": "e-0"}])
    client.send("follow", streams=streams("decode-3", "e-0"), follow=True)
    until(lambda: client.events("exit", name="e-0") and client.events("ended", name="e-0"))
    assert not client.events("exit", name="decode-3")
    assert not client.events("ended", name="decode-3")
    (client.root / "proc/decode-3/state.json").write_text(json.dumps({**state, "boot": "before"}))
    assert client.observe("decode-3")["state"] == "incompatible"


@pytest.mark.parametrize(
    ("version", "release", "wanted"), [("0.3.1", "dplaunch 0.3.1", "==0.3.1"), ("", "a newer dplaunch", "")]
)
def test_a_newer_guard_is_named_with_its_version(client, version, release, wanted):
    home = client.root / "proc/e-0"
    home.mkdir(parents=True)
    (home / "state.json").write_text(json.dumps({"protocol": 3, "version": version}))
    seen = client.observe("e-0")
    assert (seen["state"], seen["protocol"], seen["version"]) == ("incompatible", 3, version)
    assert seen["problem"] == f"e-0 was started by {release} (guard protocol 3, this version has 2)"
    assert seen["hint"] == PIPX.format(wanted)


@pytest.mark.parametrize("number", ["2", None, 0, -1, 1.5, 2])
def test_a_protocol_number_that_says_nothing_counts_as_unreadable(client, number):
    home = client.root / "proc/e-0"
    home.mkdir(parents=True)
    (home / "state.json").write_text(json.dumps({"protocol": number, "host": "n1"}))
    assert "cannot be read" in client.observe("e-0")["problem"]
    assert client.ask("forget", all=True)["ok"], "nothing of it runs here"
    assert client.observe("e-0") is None


def test_state_carries_the_protocol_and_the_version_of_the_launcher(client, spec):
    client.start(spec("e-0", "sleep", "60", version="0.2.0"))
    assert (client.state_of("e-0")["protocol"], client.state_of("e-0")["version"]) == (2, "0.2.0")
    seen = client.observe("e-0")
    assert (seen["protocol"], seen["version"], seen["problem"], seen["hint"]) == (2, "0.2.0", "", "")
