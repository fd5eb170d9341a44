"""What an up would change in files and command lines: what nodes hold against the plan."""

import json

from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.change.differences import find_differences
from dplaunch.model.difference import Difference
from dplaunch.model.plan import File

SCRIPT = "decode/run.sh"


def plan_of(text: str = "serve\n--max-num-seqs 32\n"):
    processes = [
        replace(a_process(f"decode-{n}", f"n{n + 1}"), files=(SCRIPT,), argv=("bash", SCRIPT, "9000"))
        for n in range(2)
    ]
    plan = a_plan(*processes, a_process("router", "n1"))
    nodes = [
        replace(node, files=(File(path=SCRIPT, text=text), File(path="other", text="x")))
        for node in plan.nodes
    ]
    return replace(plan, nodes=tuple(nodes))


def node(name: str, text: str, port: str = "9000"):
    made = Node(name)
    made.files[SCRIPT] = text
    argv = ["bash", SCRIPT, port]
    processes = [{"name": f"decode-{n}", "argv": argv} for n in range(2)]
    made.files["plan.json"] = json.dumps({"processes": processes})
    return made


PLACES = {("n1", "decode-0"), ("n2", "decode-1")}
OLD = "serve\n--max-num-seqs 16\n"


def differences(*nodes: Node, places=PLACES):
    scene = Scene(plan_of(), *nodes)
    scene.driver.open()
    return find_differences(scene.job, places)


def test_equal_changes_of_several_nodes_are_one():
    assert differences(node("n1", OLD), node("n2", OLD)) == (
        Difference(
            nodes=("n1", "n2"), path=SCRIPT, removed=("--max-num-seqs 16",), added=("--max-num-seqs 32",)
        ),
    )


def test_only_what_the_named_processes_run_from_is_compared():
    found = differences(node("n1", OLD), node("n2", OLD), places={("n2", "decode-1")})
    assert [one.nodes for one in found] == [("n2",)]
    assert differences(node("n1", OLD), node("n2", OLD), places=()) == ()


def test_words_of_the_command_line_that_change_are_named_once_for_all_processes():
    new = plan_of().nodes[0].files[0].text
    found = differences(node("n1", new, "9100"), node("n2", new, "9100"))
    assert found == (
        Difference(
            nodes=("n1", "n2"), processes=("decode-0", "decode-1"), removed=("9100",), added=("9000",)
        ),
    )


def test_a_file_that_is_not_there_yet_is_all_added():
    [one] = differences(node("n1", OLD), Node("n2"), places={("n2", "decode-1")})
    assert (one.removed, one.added) == ((), ("serve", "--max-num-seqs 32"))


def test_a_plan_on_a_node_that_cannot_be_read_hides_no_change_of_its_files():
    broken = node("n2", OLD)
    broken.files["plan.json"] = "[" * 100_000
    assert [one.path for one in differences(node("n1", OLD), broken)] == [SCRIPT]


def test_a_node_that_is_lost_has_no_differences():
    scene = Scene(plan_of(), node("n1", OLD), node("n2", OLD))
    scene.driver.open()
    scene.driver.lose("n2")
    assert [one.nodes for one in find_differences(scene.job, PLACES)] == [("n1",)]
