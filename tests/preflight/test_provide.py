"""The rank table that a start needs: made of what devices report, or verified where it is on the nodes."""

import json
import subprocess

import npustub
import pytest
from msgspec.structs import replace
from nodes import Node
from scene import Scene
from specs import A2, cluster, nodes, serve

from dplaunch.errors import DplaunchError, SpecError
from dplaunch.fleet.job import connect_all
from dplaunch.model.cluster import EngineSpec
from dplaunch.model.plan import File, RankTable
from dplaunch.model.remote import ExecResult
from dplaunch.plan import build
from dplaunch.preflight import FirstLook, Provided
from dplaunch.preflight.provide import LOOK, judge_there, provide
from dplaunch.ranktable import Device, NodeDevices, make_table, site_of

MACHINES = tuple(replace(node, devices=tuple(range(8))) for node in nodes(2))
JOB = cluster(
    serve(nodes=("n1", "n2"), tp=16, masters=("n2",)),
    kind="mindie-atb", version="", model="/weights", hardware=A2, nodes=MACHINES,
)  # fmt: skip
THERE = replace(JOB, engine=EngineSpec(kind="mindie-atb", version="", rank_table="/etc/t.json"))


def answers(number):
    found = {"conf": npustub.hccn_conf("a2", number)}
    for words, text in npustub.hccn_answers("a2", number):
        _, device, what, *_ = words.split()
        found[f"\x1f{what.removeprefix('-')} {device}"] = text
    return {key: {"out": text} for key, text in found.items()}


def scene(spec=JOB, **node):
    made = Scene(build(spec), *(Node(f"n{n}", outputs=answers(n), **node) for n in (1, 2)))
    connect_all(made.job)
    return made


def table(*names: str):
    address = {node.name: node.address for node in MACHINES}
    made = [
        NodeDevices(
            name=name,
            address=address[name],
            devices=tuple(Device(number=n, address=f"198.18.{at}.{n + 1}") for n in range(8)),
        )
        for at, name in enumerate(names)
    ]
    return make_table(made)


def judged(*texts: str, code=0, err=""):
    table_there = RankTable(path="/etc/t.json", nodes=("n2", "n1"), made=False)
    names = ("n2", "n1")
    results = [ExecResult(node=n, code=code, out=text, err=err) for n, text in zip(names, texts, strict=True)]
    judge_there(results, table_there, site_of(THERE, table_there))


def test_up_makes_the_table_of_the_devices_before_it_starts_a_job():
    made = scene()
    FirstLook(JOB).before(made.job, made.driver.observe())
    one, two = (json.loads(node.files["ranktable.json"]) for node in made.nodes.values())
    assert one == two
    assert [server["server_id"] for server in one["server_list"]] == [
        "192.0.0.2",
        "192.0.0.1",
    ]  # the master first
    assert one["server_list"][0]["device"][0]["rank_id"] == "0"


def test_without_checks_it_is_made_all_the_same():
    made = scene()
    Provided(JOB).before(made.job, made.driver.observe())
    [files] = made.calls("write")
    assert {name: (file.path, file.mode) for name, file in files.items()} == {
        "n1": ("ranktable.json", 0o640),
        "n2": ("ranktable.json", 0o640),
    }


def test_nothing_is_written_where_the_file_names_a_table_of_its_own():
    spec = replace(
        JOB, engine=EngineSpec(kind="mindie-atb", rank_table="t.json", rank_table_text="{}", version="")
    )
    made = scene(spec)
    provide(made.job, spec)
    assert made.calls("write") == []
    assert File("ranktable.json", "{}", 0o640) in made.job.plan.nodes[0].files


def test_a_table_that_is_there_must_be_that_of_the_plan():
    judged(table("n2", "n1"), table("n2", "n1"))
    with pytest.raises(SpecError) as caught:
        judged(table("n1", "n2"), table("n1", "n2"))
    assert "begin at 0 here, and at 8 in the plan" in caught.value.problems[0].text


def test_a_table_that_differs_between_nodes_is_refused():
    with pytest.raises(DplaunchError, match="differs between nodes"):
        judged(table("n2", "n1"), table("n2", "n1") + " ")


def test_a_table_that_a_node_cannot_use_is_named_with_the_node():
    with pytest.raises(DplaunchError, match=r"n2: /etc/t.json is not a file; nothing was started"):
        judged("", "", code=1, err="/etc/t.json is not a file\n")


@pytest.mark.parametrize(
    ("mode", "link", "word"),
    [(0o640, False, ""), (0o644, False, "may be read"), (0o640, True, "symbolic link")],
)
def test_a_node_refuses_the_files_that_engines_would_refuse(tmp_path, mode, link, word):
    path = tmp_path / "t.json"
    path.write_text("{}")
    path.chmod(mode)
    if link:
        path = tmp_path / "link"
        path.symlink_to("t.json")
    done = subprocess.run(["sh", "-c", LOOK, "sh", path], capture_output=True, text=True, check=False)
    assert (done.stdout, word in done.stderr, bool(done.returncode)) == (
        "" if word else "{}",
        True,
        bool(word),
    )
