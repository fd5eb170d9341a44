"""Flags by version: what is rendered is what that release takes, and what it does not take is found in the file."""

import pytest

from dplaunch import plan, spec
from dplaunch.engines.fastdeploy.flag_rules import FOLDER, flags
from dplaunch.render import clusters_root

PARENT = {"--ports", "--num-servers", "--metrics-ports", "--args"}
FORMS = {
    "balanced": "roles: {serve: {nodes: n1, dp: 4}}\nrouter: {node: n1}",
    "scheduled": "roles: {serve: {nodes: n1, ep: 4, dp: 4}}\nredis: {node: n1, password: {from_env: P}}\nrouter: {node: n1}",
    "scheduled and split": "roles: {prefill: {nodes: n1, ep: 4, dp: 4}, decode: {nodes: n2, ep: 4, dp: 4}}\nredis: {node: n1}",
    "registered": "roles: {serve: {nodes: n1, dp: 4}}\nrouter: {node: n1, kind: fastdeploy}",
    "registered and split": "roles: {prefill: {nodes: n1, dp: 4}, decode: {nodes: n1, dp: 4}}\n"
    "router: {node: n1, kind: fastdeploy}",
    "over two nodes": "roles: {serve: {nodes: 'n[1-2]', dp: 8, ep: 8}}\nrouter: {node: n1}",
}
FILE = """\
cluster: c
engine: {kind: fastdeploy, version: "%s"}
model: some/model
hardware: gpu-8
nodes: [{name: "n[1-2]", host: "192.0.2.[1-2]"}]
%s
"""


def loaded(version, form="balanced", args=""):
    text = FILE % (version, FORMS[form].replace("dp: 4}", f"dp: 4, args: {{{args}}}}}", 1))
    return spec.load(text, "c.yaml", read_file=lambda _: "").spec


def problems(version, args):
    return [problem for problem in plan.check(loaded(version, args=args)) if ".args." in problem.key]


def engines(given):
    return [process for process in plan.build(given, router_files={}).processes if process.kind == "engine"]


@pytest.mark.parametrize(
    ("version", "form"),
    [
        (version, form)
        for version in ("2.2.0", "2.3.0", "2.4.0", "2.5.0", "2.6.0")
        for form in FORMS
        if version >= "2.4" or not form.startswith("registered")  # the router came with 2.4
    ],
)
def test_every_rendered_flag_exists_in_its_release(version, form):
    known = {f"--{name}" for name in flags(version).known}
    for process in engines(loaded(version, form)):
        assert set(process.flags) - PARENT <= known
        assert process.flags


@pytest.mark.parametrize("path", sorted(clusters_root().glob("ernie-*.yaml")), ids=lambda path: path.stem)
def test_every_flag_of_an_example_is_known_without_a_doubt(path):
    given = spec.load(path.read_text(), str(path), read_file=lambda _: "").spec
    table = flags(given.engine.version)
    assert table.sure
    assert not [problem for problem in plan.check(given) if ".args." in problem.key]


@pytest.mark.parametrize(
    ("version", "args", "words"),
    [
        ("2.5.0", "max-modle-len: 1", ("no flag --max-modle-len", "did you mean max-model-len?")),
        ("2.3.0", "model-impl: auto", ("fastdeploy 2.3.0 has no flag --model-impl", "api_server --help")),
        ("2.5.0", "use-cudagraph: true", ("no flag --use-cudagraph", "")),
        ("2.5.0", "model-impl: fastdeply", ("takes one of", "did you mean fastdeploy?")),
        ("2.5.0", "max-model-len: 32k", ("takes a whole number, not '32k'", "correct the value")),
        ("2.5.0", "speculative-config: '{a'", ("is not JSON", "keys with values")),
        ("2.5.0", "enable-logprob: 1", ("takes true or false, not '1'", "")),
    ],
)
def test_what_the_parser_refuses_is_an_error_at_its_place(version, args, words):
    [problem] = problems(version, args)
    assert not problem.warning
    assert problem.key == f"roles.serve.args.{args.partition(':')[0]}"
    assert words[0] in problem.text
    assert words[1] in problem.hint


def test_between_two_tables_an_unknown_flag_is_only_suspicious():
    [problem] = problems("2.3.3", "max-modle-len: 1")
    assert problem.warning


def test_false_is_the_no_form_from_the_release_that_has_one():
    found = [engines(loaded(version, args="enable-prefix-caching: false")) for version in ("2.2.0", "2.3.0")]
    assert ["--no-enable-prefix-caching" in one[0].flags for one in found] == [False, True]


def test_a_flag_with_an_underscore_of_its_own_keeps_it():
    assert not problems("2.5.0", "lm_head-fp32: true")
    [process] = engines(loaded("2.5.0", args="lm_head-fp32: true, max_model_len: 8192"))
    assert {"--lm_head-fp32", "--max-model-len"} <= set(process.flags)


def test_a_cache_queue_has_one_port_before_2_3_and_one_for_each_rank_from_then_on():
    [old], [new] = (engines(loaded(version)) for version in ("2.2.0", "2.3.0"))
    assert [len({seat.port("cache") for seat in one.seats}) for one in (old, new)] == [1, 4]


def test_the_tables_are_of_releases_that_follow_one_another():
    assert [path.stem for path in sorted(FOLDER.glob("*.json"))] == [
        "2.2.0",
        "2.3.0",
        "2.4.0",
        "2.5.0",
        "2.6.0",
    ]


def test_from_2_5_on_no_list_of_ports_is_left_to_fastdeploy():
    [process] = engines(loaded("2.5.0"))
    assert {"--pd-comm-port", "--rdma-comm-ports"} <= set(process.flags)
    assert all(len(seat.ports["rdma"].ports) == 1 for seat in process.seats)
