"""Flags by version: unknown ones, values that the parser refuses, and ``--no-`` forms."""

from pathlib import Path

import pytest
from specs import GPU, cluster, serve

from dplaunch import plan, spec
from dplaunch.engines import adapter
from dplaunch.engines.ascend.releases import RELEASES
from dplaunch.engines.flagtable import faults
from dplaunch.engines.vllm.flagtable import FOLDER, flags
from dplaunch.render import clusters_root

VERSIONS = ("0.11.0", "0.18.0", "0.23.0", "0.32.0", "0.33.0")
ASCENDS = ("0.9.1", "0.11.0", "0.13.0", "0.18.0", "0.23.0")


def problems(args, version="0.23.0", kind="vllm"):
    given = cluster(
        serve(args=args), version=version, kind=kind, **({"hardware": GPU} if kind == "vllm" else {})
    )
    return [p for p in adapter(kind).check(given) if ".args." in p.key]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_known_flag_has_a_kind(version):
    table = flags(version)
    assert table.sure
    kinds = {flag.kind for flag in table.known.values()}
    assert kinds <= {"flag", "bool", "int", "size", "float", "json", "choice", "text", "list", "any"}
    assert {
        "max-model-len",
        "tensor-parallel-size",
        "headless",
        "data-parallel-rank",
        "host",
    } <= table.known.keys()
    assert sum(flag.kind == "any" for flag in table.known.values()) < 20


@pytest.mark.parametrize("version", ASCENDS)
def test_every_vllm_below_a_vllm_ascend_has_a_table(version):
    [vllm] = {release.vllm for release in RELEASES if release.version == version}
    assert flags(vllm).known["additional-config"]


@pytest.mark.parametrize("path", sorted(clusters_root().glob("*.yaml")), ids=lambda path: path.stem)
def test_no_shipped_example_has_an_unknown_flag(path):
    loaded = spec.load(path.read_text(), str(path), read_file=lambda p: Path(p).read_text(), check=plan.check)
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max-modle-len": 32768}, ("no flag --max-modle-len", "did you mean max-model-len?")),
        ({"no-enable-prefix-cachin": True}, ("no flag", "no-enable-prefix-caching")),
        ({"gpu-memory-utilization": 90}, ("more than 0 and at most 1, not 90",)),
        ({"gpu-memory-utilization": "90%"}, ("takes a number, not '90%'",)),
        ({"all2all-backend": "deepep_hi"}, ("takes one of", "did you mean deepep_h")),
        ({"max-model-len": "xxx"}, ("takes a whole number, not 'xxx'",)),
        ({"max-num-seqs": 1.5}, ("takes a whole number",)),
        ({"enforce-eager": 1}, ("takes true or false, not '1'",)),
        ({"max-num-seqs": True}, ("takes a value, not true",)),
        ({"speculative-config": '{"method": "mtp",}'}, ("is not JSON",)),
        ({"hf-overrides": "{a: 1}"}, ("is not JSON",)),
        ({"max-model-len.a": 1}, ("does not exist",)),
        ({"chat-template": {"a": 1}}, ("takes text",)),
        ({"disable-log-requests": True}, ("is refused by",)),
    ],
)
@pytest.mark.parametrize("kind", ["vllm", "vllm-ascend"])
def test_what_the_parser_refuses_is_an_error(kind, args, words):
    [problem] = problems(args, kind=kind)
    assert not problem.warning
    assert all(word in f"{problem.text} {problem.hint}" for word in words), problem
    assert problem.hint
    assert problem.source


@pytest.mark.parametrize(
    "args",
    [
        {"max-model-len": "32K", "gpu-memory-utilization": 0.9, "enforce-eager": True, "seed": "7"},
        {"compilation-config": {"cudagraph_mode": "FULL"}, "compilation-config.level": 3},
        {"enable-prefix-caching": False, "no-enable-chunked-prefill": True, "dtype": "auto"},
        {"quantization": "ascend", "reasoning-parser": "deepseek_r1", "tool-call-parser": "x"},
        {"max-model": 5, "load-format": "dummy", "additional-config": {"a": 1}},
    ],
)
def test_what_the_parser_takes_is_no_problem(args):
    assert problems(args, kind="vllm-ascend") == []


def test_between_two_tables_a_flag_that_both_lack_is_only_suspicious():
    [problem] = problems({"max-modle-len": 1}, version="0.24.0")
    assert problem.warning


def test_false_is_the_no_form_where_the_engine_has_it():
    args = {"enable-prefix-caching": False, "enforce-eager": False, "max-model-len": False}
    given = cluster(serve(tp=16, args=args))
    [process] = plan.build(given).processes
    assert "--no-enable-prefix-caching" in process.flags
    assert "--no-enforce-eager" in process.flags
    assert "--max-model-len" not in process.flags


def test_the_tables_hold_nothing_that_is_never_read():
    assert {path.stem for path in FOLDER.glob("*.json")} >= set(VERSIONS)
    assert all(not list(faults(flag, None)) for flag in flags("0.33.0").known.values())
