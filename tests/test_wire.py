import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from seating import an_endpoint

from dplaunch import wire
from dplaunch.errors import DplaunchError, HostError
from dplaunch.model.cluster import RuntimeSpec, SecretRef, SshSpec
from dplaunch.model.observed import State
from dplaunch.model.plan import File, NodePlan, Plan, Process, Stage, StopStep
from dplaunch.transport.dry import DryHost
from dplaunch.transport.local import LocalHost

STUB = """
import json, os, sys
def run_from(stdin_fd, stdout_fd):
    header, line = open(stdin_fd).readlines()
    hello = {"event": "hello", "protocol": 1, "header": json.loads(header), "next": line, "code": __file__,
             "zipfile": "zipfile" in sys.modules, "flags": [sys.flags.isolated, sys.flags.no_site]}
    os.write(stdout_fd, json.dumps(hello).encode() + b"\\n")
    return 0
"""
KEY = SecretRef("env", "API_KEY")


@pytest.fixture
def stub(tmp_path: Path) -> wire.Bundle:
    for name, text in {"guard/__init__.py": "", "guard/session.py": STUB, "main.py": ""}.items():
        path = tmp_path / "node" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return wire.bundle(tmp_path / "node")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def start(code: wire.Bundle, state: Path, **environment: str) -> dict[str, object]:
    """One session of a stub guard; its hello."""
    opening = wire.opening("c1", "n1", str(state), code)
    argv = [sys.executable, *wire.bootstrap()[1:]]
    done = subprocess.run(
        argv, input=opening + b"request\n", capture_output=True, timeout=20, check=True, env=environment
    )
    assert done.stderr == b""
    return json.loads(done.stdout)


def process(**changes: object) -> Process:
    fields: dict[str, object] = {
        "name": "decode-1",
        "kind": "engine",
        "role": "decode",
        "group": "decode/0",
        "node": "n1",
        "argv": ("decode/run_dp_template.sh", "a b"),
        "env": {"API_KEY": KEY, "MODE": "x"},
        "ports": (9000,),
        "stop": (StopStep("INT", 5.0),),
        "endpoints": (an_endpoint("decode-1", "n1", "http://10.0.0.1:9000"),),
        "fingerprint": "f1",
    }
    return Process(**{**fields, **changes})


NODE = NodePlan(
    name="n1",
    host="h1",
    address="10.0.0.1",
    ssh=SshSpec(),
    runtime=RuntimeSpec(),
    files=(File("decode/run_dp_template.sh", "exec vllm\n", 0o755),),
    processes=(process(),),
)
PLAN = Plan(
    cluster="c1",
    revision="g1",
    engine="vllm 1",
    model="/m",
    served_model_name="m",
    nodes=(NODE,),
    router=None,
    url="http://10.0.0.1:9000",
    stages=(Stage("load", "loading (?P<percent>[0-9]+)"), Stage("serve", "startup complete")),
)


def test_the_bootstrap_survives_every_login_shell():
    argv = wire.bootstrap("/opt/python/bin/python3")
    assert argv[:4] == ("/opt/python/bin/python3", "-I", "-S", "-c")
    assert not set("'\\!\n`$") & set(wire.BOOTSTRAP)


def test_the_bundle_is_the_same_for_the_same_sources(tmp_path, stub):
    shutil.copytree(tmp_path / "node", tmp_path / "again", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "node", tmp_path / "other")
    (tmp_path / "other/guard/session.py").write_text("other")
    assert wire.bundle(tmp_path / "again") == stub
    assert wire.bundle(tmp_path / "other").sha != stub.sha


def test_the_bundle_holds_what_runs_on_nodes():
    names = zipfile.ZipFile(io.BytesIO(wire.bundle().data)).namelist()
    assert {"__main__.py", "guard/session.py", "rehearsal/__init__.py", "rehearsal/vllm/engine.py"} <= set(
        names
    )
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]


def test_the_first_session_unpacks_and_the_second_finds_it_compiled(stub, home):
    first = start(stub, home)
    second = start(stub, home)
    folder = home / "dplaunch/lib" / stub.sha
    assert first["code"] == second["code"] == str(folder / "guard/session.py")
    assert (first["zipfile"], second["zipfile"]) == (True, False)
    assert list((folder / "guard/__pycache__").glob("session.*.pyc"))
    assert [p.name for p in folder.parent.iterdir()] == [stub.sha]
    assert first["flags"] == [1, 1]


def test_the_guard_gets_the_header_and_every_byte_after_the_bundle(stub, home):
    hello = start(stub, home)
    assert hello["next"] == "request\n"
    assert hello["header"] == {"cluster": "c1", "node": "n1", "state": str(home)}


def test_a_state_home_that_cannot_be_written_needs_no_folder_of_its_own(stub, tmp_path):
    (tmp_path / "file").write_text("")
    code = Path(start(stub, tmp_path / "file" / "below")["code"])
    assert tmp_path not in code.parents
    assert not code.parents[2].exists()


def test_a_launcher_that_dies_in_the_opening_leaves_nothing(stub, home):
    opening = wire.opening("c1", "n1", str(home), stub)
    argv = [sys.executable, *wire.bootstrap()[1:]]
    cut = opening[: opening.index(stub.data) + len(stub.data) - 1]
    done = subprocess.run(argv, input=cut, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, home.exists()) == (1, b"", False)


def test_a_session_that_only_looks_loads_little(home):
    """What these cost, 64 hosts' sessions would pay at each ``status``."""
    argv = [sys.executable, "-X", "importtime", *wire.bootstrap()[1:]]
    look = wire.opening("c1", "n1", str(home), wire.bundle())
    look += wire.encode({"id": 1, "verb": "observe", "health": True}) + wire.encode({"id": 2, "verb": "lock"})
    for _ in range(2):  # the first session unpacks
        done = subprocess.run(argv, input=look, capture_output=True, timeout=20, check=True)
    assert [json.loads(line).get("ok") for line in done.stdout.splitlines()] == [None, True, True]
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert {"guard.session", "guard.observe"} <= loaded
    assert not loaded & {"http.client", "ssl", "subprocess", "typing", "guard.ask", "guard.supervise"}


def test_greet_skips_noise_and_returns_the_hello():
    def guard(_stream, request):
        return () if request else ({"motd": 1}, {"event": "hello", "protocol": 1, "root": "/r"})

    host = DryHost("n1", guard)
    hello = wire.greet(host.stream(wire.bootstrap()), "n1", "c1", None)
    assert hello["root"] == "/r"


def test_greet_refuses_another_protocol():
    host = DryHost("n1", lambda _s, _r: ({"event": "hello", "protocol": 2},))
    with pytest.raises(HostError, match="the guard on n1 speaks protocol 2, this dplaunch speaks 1"):
        wire.greet(host.stream(wire.bootstrap()), "n1", "c1", None)


def test_greet_says_when_no_hello_came():
    host = LocalHost("n1")
    stream = host.stream(["sh", "-c", "echo Welcome; cat >/dev/null & exit 0"])
    with pytest.raises(HostError, match=r"never the guard's hello|ended the session"):
        wire.greet(stream, "n1", "c1", None)
    host.close()


@pytest.mark.parametrize("line", [b"", b"Welcome", b"[1]", b'{"id": 1', b"\xff\xfe"])
def test_a_strange_line_is_an_error(line):
    with pytest.raises(DplaunchError, match="strange line"):
        wire.decode(line)


def test_encode_and_decode_are_inverse():
    message = {"id": 1, "verb": "put", "files": [{"text": "a\nb é"}]}
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert wire.decode(line) == message


def test_start_request_separates_secrets_from_env():
    request = wire.start_request(NODE, [process()], {KEY: "hunter2"})
    (spec,) = json.loads(wire.encode(request))["processes"]
    assert (spec["env"], spec["secrets"]) == ({"MODE": "x"}, {"API_KEY": "hunter2"})
    assert (spec["argv"], spec["ports"], spec["stop"]) == (
        ["decode/run_dp_template.sh", "a b"],
        [9000],
        [["INT", 5.0]],
    )
    assert (spec["address"], spec["fingerprint"], spec["restarts"]) == ("10.0.0.1", "f1", False)
    assert "hunter2" not in json.dumps({**spec, "secrets": {}})


def test_put_request_names_secrets_and_sends_files():
    request = json.loads(wire.encode(wire.put_request(PLAN, NODE)))
    assert request["files"] == [{"path": "decode/run_dp_template.sh", "text": "exec vllm\n", "mode": 0o755}]
    assert (request["plan"]["revision"], request["plan"]["processes"][0]["name"]) == ("g1", "decode-1")


def test_watch_request_asks_for_stages_by_index():
    key = {"Authorization": "Bearer x"}
    request = wire.watch_request([process(endpoints=())], PLAN, headers=key, suspect="ERROR")
    nothing = {"url": "", "health": "", "models": "", "model": ""}
    assert request["processes"] == [{"name": "decode-1", "offset": 0, "headers": key, **nothing}]
    assert [wire.stage_index(p["id"]) for p in request["patterns"]] == [0, 1, None]
    assert request["patterns"][-1] == {"id": wire.SUSPECT, "regex": "ERROR", "most": 100}


def test_what_start_sent_comes_back_from_observe():
    (spec,) = wire.start_request(NODE, [process()], {KEY: "x"})["processes"]
    entry = {
        "name": "decode-1",
        "state": "exited",
        "pid": 7,
        "exit_code": 0,
        "left": [8],
        "ports": [9000],
        "meta": spec["meta"],
    }
    node = wire.observed_node(
        "n1", {"revision": "g1", "clock": 5.0, "lock": {"holder": "a@b"}, "processes": [entry]}
    )
    (seen,) = node.processes
    assert (node.revision, node.clock, node.lock) == ("g1", 5.0, {"holder": "a@b"})
    assert (seen.kind, seen.role, seen.group, seen.url) == (
        "engine",
        "decode",
        "decode/0",
        "http://10.0.0.1:9000",
    )
    assert (seen.state, seen.exit_code, seen.left, seen.alive) == (State.EXITED, 0, (8,), True)


def test_a_node_without_state_has_nothing():
    node = wire.observed_node("n1", {"revision": None, "clock": 1.0, "lock": None, "processes": []})
    assert (node.revision, node.processes, node.lock) == ("", (), {})


def test_the_real_guard_starts_reports_and_stops_a_process(home):
    host = LocalHost("n1")
    stream = host.stream(wire.bootstrap(sys.executable))
    hello = wire.greet(stream, "n1", "c1", str(home))
    lines = stream.lines()

    def ask(number, verb, fields):
        stream.send(wire.encode({"id": number, "verb": verb, **fields}))
        return next(m for line in lines if (m := wire.decode(line)).get("id") == number and "ok" in m)

    sleeper = process(argv=("sleep", "60"), ports=(), endpoints=())
    assert (hello["protocol"], hello["root"]) == (1, str(home / "dplaunch/c1/n1"))
    assert ask(1, "put", wire.put_request(PLAN, NODE))["ok"]
    assert ask(2, "start", wire.start_request(NODE, [sleeper], {KEY: "hunter2"}))["results"][0]["ok"]
    node = wire.observed_node("n1", ask(3, "observe", {"health": False}))
    assert (node.revision, [(p.name, p.state, p.role) for p in node.processes]) == (
        "g1",
        [("decode-1", State.RUNNING, "decode")],
    )
    assert ask(4, "stop", {"names": ["decode-1"], "grace": 1, "ports": True})["results"][0]["left"] == []
    stream.close_stdin()
    assert stream.wait(5) == 0
    host.close()
    assert "hunter2" not in "".join(
        p.read_text("utf-8", "replace") for p in (home / "dplaunch/c1").rglob("*") if p.is_file()
    )
