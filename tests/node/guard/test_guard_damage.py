"""Files of the node folder damaged, emptied, removed: what lives is never called gone, and can be stopped."""

import json
import os
import shutil
import signal

import pytest

DEEP = '{"a":' * 5000 + "1" + "}" * 5000
NOT_A_STATE = ("", "{", "[]", "{}", '{"guard": 1}', "\0" * 500, DEEP, "[" * 100_000)
TWO_SESSIONS = ("sh", "-c", "setsid sleep 60 & echo $!; exec sleep 61")


@pytest.fixture(params=["emptied", "deep", "removed", "folder removed", "all removed"])
def lose(request, client):
    """``lose(name)``: its state is lost in one of these ways."""

    def damage(name):
        home = client.root / "proc" / name
        match request.param:
            case "emptied":
                (home / "state.json").write_text("")
            case "deep":
                (home / "state.json").write_text(DEEP)
            case "removed":
                (home / "state.json").unlink()
            case "folder removed":
                shutil.rmtree(home)
            case _:
                shutil.rmtree(client.root)

    return damage


def test_a_guard_writes_its_lost_state_again(client, spec, lose, until, living):
    (result,) = client.start(spec("e-0", "sleep", "60"))
    before = client.state_of("e-0")
    lose("e-0")
    seen = until(lambda: (p := client.observe("e-0")) and p["state"] == "running" and p)
    assert seen["pid"] == result["pid"]
    assert client.state_of("e-0") == before
    assert client.start(spec("e-0", "true"))[0]["error"]["kind"] == "running"
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], verdict["left"], verdict["problem"]) == ("TERM", [], "")
    assert not living(result["pid"])
    assert client.ask("forget", all=True)["ok"]
    assert client.observe("e-0", search=True) is None


def test_a_stop_waits_until_the_guard_has_written_its_state_again(client, spec, lose, living):
    (result,) = client.start(spec("e-0", "sleep", "60", limits={"look": 1}))
    lose("e-0")
    seen = client.observe("e-0", search=True)
    assert (seen["state"], seen["left"]) in [("unknown", [result["pid"]]), ("running", [])]
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], verdict["left"], verdict["problem"]) == ("TERM", [], "")
    assert not living(result["pid"])


def test_without_state_and_guard_the_process_is_known_by_its_environment(client, spec, lose, living, until):
    (result,) = client.start(spec("e-0", *TWO_SESSIONS))
    child = until((client.root / "proc/e-0/log").read_text)
    tree = [result["pid"], int(child)]
    guard = client.state_of("e-0")["guard"][0]
    os.kill(guard, signal.SIGKILL)
    until(lambda: not living(guard))
    lose("e-0")
    seen = client.observe("e-0", search=True)
    assert (seen["state"], sorted(seen["left"])) == ("unknown", sorted(tree))
    assert str(result["pid"]) in seen["problem"]
    (verdict,) = client.stop("e-0")
    assert (verdict["left"], verdict["problem"]) == ([], "")
    assert not any(map(living, tree))
    assert client.observe("e-0", search=True) is None or client.observe("e-0")["state"] == "exited"


def test_a_guard_that_stands_still_is_left_and_named(client, spec):
    client.start(spec("e-0", "sleep", "60"))
    guard = client.state_of("e-0")["guard"][0]
    good = (client.root / "proc/e-0/state.json").read_text()
    os.kill(guard, signal.SIGSTOP)
    (client.root / "proc/e-0/state.json").write_text("")
    (verdict,) = client.stop("e-0", rewrite=0.1, grace=1)
    assert (verdict["kind"], "guard" in verdict["problem"]) == ("unreadable", True)
    assert client.ask("forget", all=True)["error"]["kind"] == "unknown"
    (client.root / "proc/e-0/state.json").write_text(good)
    os.kill(guard, signal.SIGCONT)


def test_other_processes_of_the_node_are_not_affected(client, spec):
    client.start(spec("e-0", "sleep", "60"), spec("e-1", "sleep", "60", limits={"look": 60}))
    path = client.root / "proc/e-1/state.json"
    good = path.read_text()
    for text in NOT_A_STATE:
        path.write_text(text)
        assert client.observe("e-0")["state"] == "running"
        assert client.observe("e-1")["state"] == "unknown"
    path.write_text(good)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, value) for key in ("main", "guard", "tree", "stop") for value in (1, ["x"], [[1]], [-1, 2])],
        *[(key, value) for key in ("ports", "logs", "endpoints", "notes") for value in (1, {}, [None])],
        *[(key, [1]) for key in ("meta", "ready", "host", "boot", "phase", "version", "fingerprint")],
        *[(key, float("nan")) for key in ("started_at", "restart_count")],
        *[("last_exit", {"code": "x"}), ("started_at", 1e300), ("ports", [1e9]), ("ports", [99999])],
        ("meta", json.loads('{"a":' * 200 + "1" + "}" * 200)),
    ],
)
def test_a_state_of_another_shape_counts_as_unreadable(client, spec, key, value):
    client.start(spec("e-0", "sleep", "60", limits={"look": 60}))
    path = client.root / "proc/e-0/state.json"
    good = path.read_text()
    path.write_text(json.dumps({**json.loads(good), key: value}))
    assert client.observe("e-0")["state"] == "unknown"
    assert client.ask("survey", commands=[], ports=[])["ok"]
    path.write_text(good)
    assert client.observe("e-0")["state"] == "running"


@pytest.mark.parametrize("content", ["", "[]", '{"left": 5}', '{"asked": true}', DEEP, '{"at": "x"}'])
@pytest.mark.parametrize("name", ["exit.json", "stop.json", "../../plan.json", "../../lock.json"])
def test_other_damaged_files_do_not_prevent_a_stop(client, spec, living, name, content):
    (result,) = client.start(spec("e-0", "sleep", "60"))
    (client.root / "proc/e-0" / name).write_text(content)
    seen = client.observe("e-0")
    assert seen is not None
    (verdict,) = client.stop("e-0")
    assert (verdict["left"], verdict["problem"]) == ([], "")
    assert not living(result["pid"])


def test_a_request_nested_deep_is_refused_and_the_session_lives(client):
    client.raw(b'{"id": 1, "verb": "observe", "x": ' + b"[" * 100_000 + b"\n")
    client.raw(DEEP.encode() + b"\n")
    assert client.ask("observe")["ok"]


def test_a_deep_line_of_the_trail_is_left_out(client):
    client.ask("audit", append={"verb": "up"})
    with (client.root / "audit.jsonl").open("a") as trail:
        trail.write(DEEP + "\n")
    assert client.ask("observe")["audit"] is None
    assert client.ask("audit", tail=5)["lines"] == [{"verb": "up"}]
