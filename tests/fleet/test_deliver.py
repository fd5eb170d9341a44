"""A file that is sent to all nodes, by real guards into a folder of this machine, and by nodes in memory."""

import hashlib
from collections.abc import Iterator

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, HostError, LockedError
from dplaunch.fleet.deliver import deliver
from dplaunch.fleet.guards import Address, GuardedMachines, open_session
from dplaunch.fleet.job import Job
from dplaunch.model.observed import Lock
from dplaunch.model.plan import File
from dplaunch.transport.local import LocalHost

PLAN = a_plan(a_process("decode-0", "n1"), a_process("decode-1", "n2"))
NODES = ["n1", "n2"]
FILE = File("table.json", '{"a": "ü"}\r\n', 0o640)


@pytest.fixture
def job(state_home) -> Iterator[Job]:
    """Two guards on this machine, each with a folder of its own."""
    address = Address(PLAN.cluster, str(state_home))
    driver = GuardedMachines(
        PLAN.nodes, lambda node: open_session(node, lambda n: LocalHost(n.name), address)
    )
    yield Job(PLAN, driver, lambda _: None)
    driver.close()


def test_the_file_has_the_same_bytes_and_its_mode_and_nothing_else_is_left(job, tmp_path):
    target = tmp_path / "a folder" / "table.json"
    target.parent.mkdir()
    target.write_text("of yesterday")
    sha = deliver(job, "ranktable", NODES, FILE, str(target))
    assert target.read_bytes() == FILE.text.encode()
    assert sha == hashlib.sha256(FILE.text.encode()).hexdigest()
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["table.json"]
    assert all(job.driver.read(node, FILE.path).text is None for node in NODES)


def test_a_link_is_replaced_by_a_file_and_what_it_names_stays(job, tmp_path):
    old, link = tmp_path / "old", tmp_path / "link"
    old.write_text("old")
    link.symlink_to(old)
    deliver(job, "ranktable", NODES, FILE, str(link))
    assert not link.is_symlink()
    assert old.read_text() == "old"


@pytest.mark.parametrize(("path", "word"), [("none/table.json", "does not exist"), (".", "is a folder")])
def test_a_path_that_cannot_be_written_is_named_with_its_nodes(job, tmp_path, path, word):
    with pytest.raises(DplaunchError, match="2 of 2 nodes") as caught:
        deliver(job, "ranktable", NODES, FILE, str(tmp_path / path))
    [line] = caught.value.detail
    assert line.startswith("n[1-2]: ")
    assert word in line


def test_a_node_that_is_off_keeps_the_file_from_all(state_home):
    scene = Scene(PLAN, Node("n2", unreachable="n2 is off"))
    with pytest.raises(HostError, match="n2 is off"):
        deliver(scene.job, "ranktable", NODES, FILE, "/etc/table.json")
    assert scene.calls("write") == []


def test_a_node_that_has_other_bytes_is_named():
    with pytest.raises(DplaunchError) as caught:  # in memory every command is an echo
        deliver(Scene(PLAN).job, "ranktable", NODES, FILE, "/etc/table.json")
    assert all("instead of" in line for line in caught.value.detail)


def test_a_node_that_refuses_the_file_is_named_and_does_not_run_the_command():
    scene = Scene(PLAN, Node("n2", refuses={"write": "the disk is full"}))
    with pytest.raises(DplaunchError) as caught:
        deliver(scene.job, "ranktable", NODES, FILE, "/etc/table.json")
    assert any(line == "n2: the disk is full" for line in caught.value.detail)


def test_while_another_operator_works_nothing_is_sent():
    scene = Scene(PLAN, Node("n1", lock=Lock(holder="eve@x", verb="up", since=1.0)))
    with pytest.raises(LockedError):
        deliver(scene.job, "ranktable", NODES, FILE, "/etc/table.json")
    assert scene.calls("write") == []
