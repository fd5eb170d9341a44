"""Containers started before processes, on nodes in memory whose docker is a function."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.down import down
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import preview, restart, up
from dplaunch.model.cluster import Container, Image
from dplaunch.model.plan import File
from dplaunch.reconcile import Wish

IMAGE = Image(reference="engines:1", archive="/data/engines.tar")
NAMES = ("n1", "n2", "n3", "n4")


class Docker:
    """The docker of one node: what it holds, and the commands it was given."""

    def __init__(
        self, node: Node, *, image: str = "", archive: bool = False, state: str = "", owner: str = ""
    ) -> None:
        self.node, self.image, self.archive, self.state, self.owner = node, image, archive, state, owner
        self.ran: list[str] = []
        self.fails: dict[str, str] = {}
        node.execute = self

    def __call__(self, argv: Sequence[str]) -> dict[str, Any]:
        what = self._what(argv)
        self.ran.append(what)
        if what in self.fails:
            return {"code": 1, "err": self.fails[what]}
        done = getattr(self, what)
        return {"code": 0, "out": done() or ""}

    def _what(self, argv):
        """The name of what is done: ``sh container.sh`` runs, ``docker load`` loads, scripts do the rest."""
        if argv[:2] != ("sh", "-c"):
            return "run" if argv[0] == "sh" else argv[1]
        if "ssh" in argv:
            return "copy"
        return "remove" if " rm --force" in argv[2] else "look"

    def look(self):
        return f"{self.state} {self.owner}\n{self.image}\n{'yes' if self.archive else ''}\n0\n"

    def load(self):
        self.image = "sha256:1"

    pull = load

    def copy(self):
        self.archive = True

    def remove(self):
        self.state = self.node.container = ""

    def run(self):
        self.state, self.owner, self.node.container = "running", f"c/{self.node.name}", "new"


def boxed(image=IMAGE, **dockers):
    """Four nodes with an engine each and a router; the first has the archive."""
    processes = [a_process(f"serve-{number}", name) for number, name in enumerate(NAMES)]
    planned = a_plan(*processes, a_process("router", "n1"))
    nodes = tuple(
        replace(
            node,
            container=Container("box", "docker", image, f"c/{node.name}", "new"),
            files=(File("container.sh", "run"),),
        )
        for node in planned.nodes
    )
    stage = Scene(replace(planned, nodes=nodes))
    stage.dockers = {
        name: Docker(stage.nodes[name], **dockers.get(name, {"archive": name == "n1"})) for name in NAMES
    }
    return stage


def yes(*_: object):
    return True


def test_an_archive_spreads_from_node_to_node_and_every_container_runs_before_its_processes():
    stage = boxed()
    up(stage.job, ChangeOptions(), yes)
    copies = [sorted(wanted) for wanted in stage.calls("execute_each") if "ssh" in str(wanted)]
    assert copies == [["n2"], ["n3", "n4"]]
    ran = [what for what in stage.dockers["n4"].ran if what != "look"]
    assert ran == ["copy", "load", "remove", "run"]
    verbs = [call.verb for call in stage.driver.calls]
    assert verbs.index("write") < verbs.index("execute_each", verbs.index("write")) < verbs.index("put")
    assert stage.nodes["n4"].files["container.sh"] == "run"


def test_nothing_is_done_about_containers_that_run():
    stage = boxed()
    up(stage.job, ChangeOptions(), yes)
    before = [len(docker.ran) for docker in stage.dockers.values()]
    assert not up(stage.job, ChangeOptions(), yes).changed
    assert [len(docker.ran) for docker in stage.dockers.values()] == before


def test_a_preview_names_what_is_loaded_copied_and_started_and_changes_nothing():
    stage = boxed(n3={"image": "sha256:1", "state": "exited", "owner": "c/n3"})
    _, wanted = preview(stage.job, ChangeOptions())
    assert (wanted.loaded, wanted.copied, wanted.replaced) == (
        ("n1",),
        ("n2", "n4"),
        ("n3",),
    ) or wanted.copied
    assert {what for docker in stage.dockers.values() for what in docker.ran} == {"look"}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("copy", "n2 could not copy /data/engines.tar from n1: no route"),
        ("load", "could not load /data/engines.tar: no route"),
        ("run", "could not start its container: no route"),
        ("remove", "could not remove the old container: no route"),
    ],
)
@pytest.mark.parametrize(
    "more",
    [
        "",
        "See 'podman run --help'\n",
        "\nUsage:  docker run IMAGE\n\nRun 'docker run --help' for more information\n",
    ],
)
def test_what_fails_on_the_way_is_an_error_that_names_nodes_and_reason(what, said, more):
    stage = boxed()
    for docker in stage.dockers.values():
        docker.fails[what] = f"no route\n{more}"
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, ChangeOptions(), yes)
    assert said in caught.value.text
    assert stage.calls("start") == []


def test_a_user_who_may_not_lock_memory_is_given_the_remedy():
    stage = boxed()
    stage.dockers["n3"].fails["run"] = "Error: runc: error setting rlimit type 8: operation not permitted"
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, ChangeOptions(), yes)
    assert "memlock unlimited" in caught.value.hint


def test_a_container_that_ends_at_once_is_an_error():
    stage = boxed()
    stage.dockers["n2"].run = lambda: None
    with pytest.raises(DplaunchError, match="the container of n2 ended as soon as it had started"):
        up(stage.job, ChangeOptions(), yes)


def test_a_container_that_cannot_be_entered_is_removed_again():
    stage = boxed()
    stage.nodes["n2"].no_way_in = "container box on n2 cannot run python3"
    with pytest.raises(DplaunchError, match="cannot run python3"):
        up(stage.job, ChangeOptions(), yes)
    assert [docker.state for docker in stage.dockers.values()] == [""] * 4
    stage.nodes["n2"].no_way_in = ""
    up(stage.job, ChangeOptions(), yes)
    assert [docker.state for docker in stage.dockers.values()] == ["running"] * 4


def test_one_of_another_s_stops_the_start_before_anything_is_touched():
    stage = boxed(n2={"image": "sha256:1", "state": "running"})
    with pytest.raises(DplaunchError, match="it is left alone"):
        up(stage.job, ChangeOptions(), yes)
    assert stage.calls("put") == []


def test_a_restart_of_one_process_does_not_take_others_of_its_container_along():
    stage = boxed()
    up(stage.job, ChangeOptions(), yes)
    stage.nodes["n1"].container = "old"
    with pytest.raises(DplaunchError, match="the container of n1 has to be started again, and router"):
        restart(stage.job, ChangeOptions(wish=Wish(restart=frozenset({"serve-0"}))))
    assert stage.calls("stop") == []


def test_down_removes_them_when_everything_has_ended():
    stage = boxed()
    up(stage.job, ChangeOptions(), yes)
    assert down(stage.job, yes).clean
    assert [docker.state for docker in stage.dockers.values()] == [""] * 4
    assert [docker.ran[-1] for docker in stage.dockers.values()] == ["remove"] * 4


def test_down_says_which_could_not_be_removed():
    stage = boxed()
    up(stage.job, ChangeOptions(), yes)
    stage.dockers["n3"].fails["remove"] = "device busy"
    result = down(stage.job, yes)
    assert (result.clean, result.kept) == (False, ("n3",))
    assert stage.notes[-1] == "the container of n3 could not be removed: device busy"
