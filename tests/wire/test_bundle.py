"""What starts a session: the bundle, and how a node unpacks and runs it."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from subprocess import PIPE

import pytest

from dplaunch.wire.bundle import BOOTSTRAP, Bundle, bootstrap, bundle, opening
from dplaunch.wire.lines import Opening, encode

STUB = """
import json, os, sys
def run_from(header, stdin_fd, stdout_fd):
    hello = {"event": "hello", "header": json.loads(header), "code": __file__,
             "zipfile": "zipfile" in sys.modules, "flags": [sys.flags.isolated, sys.flags.no_site]}
    os.write(stdout_fd, json.dumps(hello).encode() + b"\\n")
    os.write(stdout_fd, open(stdin_fd, "rb").read())
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


def converse(first: Opening, requests: bytes, *options: str) -> tuple[list[bytes], bytes]:
    """A whole session: the lines it writes from its hello on, and its stderr."""
    argv = [sys.executable, *options, *bootstrap()[1:]]
    with subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(first.first)
        process.stdin.flush()
        line = process.stdout.readline()
        if json.loads(line) == {"event": "unpack"}:
            process.stdin.write(first.code)
            process.stdin.flush()
            line = process.stdout.readline()
        rest, errors = process.communicate(requests, timeout=20)
    assert process.returncode == 0
    return [line, *rest.splitlines()], errors


def start(code: Bundle, state: Path) -> dict[str, object]:
    """One session of a stub guard; its hello."""
    (hello, *echo), errors = converse(opening("c1", "n1", str(state), code), b"request\n")
    assert (echo, errors) == ([b"request"], b"")
    return json.loads(hello)


def asks(code: Bundle, state: Path) -> bool:
    """Whether a node with this state asks for the bundle."""
    argv = [sys.executable, *bootstrap()[1:]]
    sent = opening("c1", "n1", str(state), code).first
    done = subprocess.run(argv, input=sent, capture_output=True, timeout=20, check=False, env={})
    return json.loads(done.stdout.splitlines()[0]) == {"event": "unpack"}


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
    made = opening("c1", "n1", None, stub)
    boot, _, rest = made.first.partition(b"\n")
    sizes, header = rest[int(boot) :].splitlines()
    home, sha, unpack, packed, files = sizes.split()
    assert (home, sha.decode(), int(packed)) == (b"-", stub.sha, len(stub.data))
    assert int(files) == len(STUB)  # the others are empty
    assert made.code[int(unpack) :] == stub.data
    assert header == b'{"cluster":"c1","node":"n1","state":null}'


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
def test_the_guard_gets_the_header_and_every_byte_after_the_opening(stub, tmp_path, name):
    hello = start(stub, tmp_path / name)
    assert hello["header"] == {"cluster": "c1", "node": "n1", "state": str(tmp_path / name)}


def test_a_state_home_that_cannot_be_written_needs_no_folder_of_its_own(stub, tmp_path):
    (tmp_path / "file").write_text("")
    code = Path(str(start(stub, tmp_path / "file" / "below")["code"]))
    assert tmp_path not in code.parents
    assert not code.parents[2].exists()


def test_a_launcher_that_dies_in_the_opening_leaves_nothing(stub, home):
    made = opening("c1", "n1", str(home), stub)
    for cut in (made.first[:-1], made.first, made.first + made.code[:-1]):
        argv = [sys.executable, *bootstrap()[1:]]
        done = subprocess.run(argv, input=cut, capture_output=True, timeout=20, check=False)
        assert (done.returncode, home.exists()) == (1, False)


def test_of_two_first_sessions_the_slower_one_leaves_the_files_of_the_faster_one(stub, home):
    first = opening("c", "n1", str(home), stub)
    with subprocess.Popen([sys.executable, *bootstrap()[1:]], stdin=PIPE, stdout=PIPE, env={}) as slower:
        assert slower.stdin is not None
        assert slower.stdout is not None
        slower.stdin.write(first.first)
        slower.stdin.flush()
        assert json.loads(slower.stdout.readline()) == {"event": "unpack"}
        start(stub, home)
        place = home / "dplaunch" / "lib" / stub.sha
        before = place.stat().st_ino
        said, _ = slower.communicate(first.code, timeout=20)
    assert json.loads(said.splitlines()[0])["code"].startswith(str(place))
    assert place.stat().st_ino == before


@pytest.mark.parametrize("damage", ["", "run_from = 1", "\0" * len(STUB), None])
def test_a_damaged_bundle_is_replaced(stub, home, damage):
    start(stub, home)
    broken = home / "dplaunch/lib" / stub.sha / "guard/session.py"
    broken.unlink()
    if damage is not None:
        broken.write_text(damage)
    assert start(stub, home)["code"] == str(broken)
    assert broken.read_text() == STUB
    assert [p.name for p in broken.parents[2].iterdir()] == [stub.sha]


@pytest.mark.parametrize("below", ["dplaunch", "dplaunch/lib", "dplaunch/lib/SHA"])
def test_what_others_could_write_to_is_closed_to_them_and_its_code_replaced(stub, home, below):
    start(stub, home)
    folder = home / below.replace("SHA", stub.sha)
    folder.chmod(0o777)
    assert asks(stub, home)
    code = home / "dplaunch/lib" / stub.sha / "guard/session.py"
    code.write_text(STUB.replace("hello", "bye"))  # as long as it was
    assert start(stub, home)["code"] == str(code)
    assert not folder.stat().st_mode & 0o022


def test_no_code_is_run_through_a_link_that_others_can_turn(stub, home):
    start(stub, home)
    assert not asks(stub, home)
    moved = (home / "dplaunch").rename(home / "elsewhere")
    (home / "dplaunch").symlink_to(moved)
    assert home not in Path(str(start(stub, home)["code"])).parents


def test_the_folder_of_the_code_may_be_a_link_of_its_owner(stub, home):
    start(stub, home)
    moved = (home / "dplaunch/lib").rename(home / "scratch")
    (home / "dplaunch/lib").symlink_to(moved)
    assert not asks(stub, home)


def test_a_node_that_has_the_whole_bundle_does_not_ask_for_it(home):
    converse(opening("c1", "n1", str(home), bundle()), b"")
    assert not asks(bundle(), home)


def test_a_session_that_only_looks_loads_little(home):
    """What these cost, 64 hosts' sessions would pay at each ``status``."""
    look = opening("c1", "n1", str(home), bundle())
    requests = encode({"id": 1, "verb": "observe", "health": True}) + encode({"id": 2, "verb": "lock"})
    for _ in range(2):  # the first session unpacks
        lines, errors = converse(look, requests, "-X", "importtime")
    assert [json.loads(line).get("ok") for line in lines] == [None, True, True]
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in errors.splitlines()}
    assert {"guard.session", "guard.observe"} <= loaded
    assert not loaded & {"http.client", "ssl", "subprocess", "typing", "guard.ask", "guard.supervise"}
