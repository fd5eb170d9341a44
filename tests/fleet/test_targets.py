"""Words on the command line → processes."""

import pytest
from plans import a_plan, a_process

from dplaunch.errors import UsageError
from dplaunch.fleet.targets import find, nodes_of, role, widen

PLAN = a_plan(
    a_process("prefill-0", "n1"),
    *(a_process(f"decode-{n}", "n2", group=f"decode/{n // 2}") for n in range(4)),
    a_process("router", "n1"),
)
PARENT = a_process(
    "decode@n2", "n2", kind="engine", role="decode", group="decode/0", endpoints=("decode-0", "decode-1")
)


def names(processes):
    return [process.name for process in processes]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["decode-3"], ["decode-3"]),
        (["decode"], ["decode-0", "decode-1", "decode-2", "decode-3"]),
        (["decode-[1-2]"], ["decode-1", "decode-2"]),
        (["decode/1"], ["decode-2", "decode-3"]),
        (["node:n1"], ["prefill-0", "router"]),
        (["node:n1", "decode-3"], ["prefill-0", "router", "decode-3"]),
        (["router"], ["router"]),
        (["all"], names(PLAN.processes)),
    ],
)
def test_targets(words, found):
    assert sorted(names(find(words, PLAN))) == sorted(found)


@pytest.mark.parametrize("word", ["decode-1", "decode@n2", "decode", "decode/0", "node:n2"])
def test_an_endpoint_means_the_process_that_has_it(word):
    assert names(find([word], a_plan(PARENT))) == ["decode@n2"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("decod-3", "decode-3"), ("decode-[0-9]", "decode-4"), ("node:n9", "node:n"), ("zzz", "targets: ")],
)
def test_a_target_that_means_nothing_is_an_error_with_what_would(word, hint):
    with pytest.raises(UsageError) as caught:
        find([word], PLAN)
    assert hint in caught.value.text + caught.value.hint


def test_a_target_inside_a_group_widens_to_it():
    assert names(widen(find(["decode-3"], PLAN), PLAN)) == ["decode-2", "decode-3"]


def test_nodes_of_targets():
    assert nodes_of("all", PLAN) == ("n1", "n2")
    assert nodes_of("node:n2", PLAN) == ("n2",)
    assert nodes_of("router", PLAN) == ("n1",)
    with pytest.raises(UsageError, match="node:n3"):
        nodes_of("node:n[1-3]", PLAN)


def test_a_role_must_be_one_of_the_plan():
    assert role(None, PLAN) is None
    assert role("decode", PLAN) == "decode"
    with pytest.raises(UsageError, match="serve"):
        role("serve", PLAN)
