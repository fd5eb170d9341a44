"""What starts a session: the bundle, and how a node unpacks and runs it."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dplaunch.wire.bundle import BOOTSTRAP, Bundle, bootstrap, bundle, opening
from dplaunch.wire.lines import encode

STUB = """
import json, os, sys
def run_from(stdin_fd, stdout_fd):
    header, line = open(stdin_fd).readlines()
    hello = {"event": "hello", "header": json.loads(header), "next": line, "code": __file__,
             "zipfile": "zipfile" in sys.modules, "flags": [sys.flags.isolated, sys.flags.no_site]}
    os.write(stdout_fd, json.dumps(hello).encode() + b"\\n")
    return 0
"""


@pytest.fixture
def stub(tmp_path: Path) -> Bundle:
    for name, text in {"guard/__init__.py": "", "guard/session.py": STUB, "main.py": ""}.items():
        path = tmp_path / "node" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return bundle(tmp_path / "node")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def start(code: Bundle, state: Path) -> dict[str, object]:
    """One session of a stub guard; its hello."""
    sent = opening("c1", "n1", str(state), code) + b"request\n"
    argv = [sys.executable, *bootstrap()[1:]]
    done = subprocess.run(argv, input=sent, capture_output=True, timeout=20, check=True, env={})
    assert done.stderr == b""
    return json.loads(done.stdout)


def test_the_bootstrap_survives_every_login_shell():
    argv = bootstrap("/opt/python/bin/python3")
    assert argv[:4] == ("/opt/python/bin/python3", "-I", "-S", "-c")
    assert not set("'\\!\n`$") & set(BOOTSTRAP)


def test_the_bundle_is_the_same_for_the_same_sources(tmp_path, stub):
    shutil.copytree(tmp_path / "node", tmp_path / "again", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "node", tmp_path / "other")
    (tmp_path / "other/guard/session.py").write_text("other")
    assert bundle(tmp_path / "again") == stub
    assert bundle(tmp_path / "other").sha != stub.sha


def test_the_bundle_does_not_depend_on_modes_or_times_of_its_sources(tmp_path, stub):
    shutil.copytree(tmp_path / "node", tmp_path / "again", copy_function=shutil.copyfile)
    for path in (tmp_path / "again").rglob("*.py"):
        path.chmod(0o700)
    assert bundle(tmp_path / "again") == stub


def test_the_bundle_holds_what_runs_on_nodes_and_is_packed_once():
    names = zipfile.ZipFile(io.BytesIO(bundle().data)).namelist()
    assert {"__main__.py", "guard/__init__.py", "guard/session.py", "rehearsal/vllm/flags.txt"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("/")]
    assert names == sorted(names)
    assert bundle() is bundle()


def test_the_opening_can_be_read_with_its_own_sizes(stub):
    boot, _, rest = opening("c1", "n1", None, stub).partition(b"\n")
    sizes, _, rest = rest[int(boot) :].partition(b"\n")
    home, sha, unpack, packed = sizes.split()
    assert (home, sha.decode(), int(packed)) == (b"-", stub.sha, len(stub.data))
    assert rest[int(unpack) :] == stub.data + b'{"cluster":"c1","node":"n1","state":null}\n'


def test_the_first_session_unpacks_and_the_second_finds_it_compiled(stub, home):
    first = start(stub, home)
    second = start(stub, home)
    folder = home / "dplaunch/lib" / stub.sha
    assert first["code"] == second["code"] == str(folder / "guard/session.py")
    assert (first["zipfile"], second["zipfile"]) == (True, False)
    assert list((folder / "guard/__pycache__").glob("session.*.pyc"))
    assert [p.name for p in folder.parent.iterdir()] == [stub.sha]
    assert first["flags"] == [1, 1]


@pytest.mark.parametrize("name", ["home", "a home", "häuschen"])
def test_the_guard_gets_the_header_and_every_byte_after_the_bundle(stub, tmp_path, name):
    hello = start(stub, tmp_path / name)
    assert hello["next"] == "request\n"
    assert hello["header"] == {"cluster": "c1", "node": "n1", "state": str(tmp_path / name)}


def test_a_state_home_that_cannot_be_written_needs_no_folder_of_its_own(stub, tmp_path):
    (tmp_path / "file").write_text("")
    code = Path(str(start(stub, tmp_path / "file" / "below")["code"]))
    assert tmp_path not in code.parents
    assert not code.parents[2].exists()


def test_a_launcher_that_dies_in_the_opening_leaves_nothing(stub, home):
    sent = opening("c1", "n1", str(home), stub)
    cut = sent[: sent.index(stub.data) + len(stub.data) - 1]
    argv = [sys.executable, *bootstrap()[1:]]
    done = subprocess.run(argv, input=cut, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, home.exists()) == (1, b"", False)


def test_a_session_that_only_looks_loads_little(home):
    """What these cost, 64 hosts' sessions would pay at each ``status``."""
    argv = [sys.executable, "-X", "importtime", *bootstrap()[1:]]
    look = opening("c1", "n1", str(home), bundle())
    look += encode({"id": 1, "verb": "observe", "health": True}) + encode({"id": 2, "verb": "lock"})
    for _ in range(2):  # the first session unpacks
        done = subprocess.run(argv, input=look, capture_output=True, timeout=20, check=True)
    assert [json.loads(line).get("ok") for line in done.stdout.splitlines()] == [None, True, True]
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert {"guard.session", "guard.observe"} <= loaded
    assert not loaded & {"http.client", "ssl", "subprocess", "typing", "guard.ask", "guard.supervise"}
