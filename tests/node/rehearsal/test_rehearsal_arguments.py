"""The command line is parsed as strictly as vLLM's, release by release."""

import json

import pytest

from dplaunch.node.rehearsal.vllm.arguments import UsageError, parse
from dplaunch.node.rehearsal.vllm.flags import known, version

NOW = (0, 23, 0)
OLD = (0, 9, 1)
MTP = json.dumps({"method": "mtp", "num_speculative_tokens": 1})


def fault(argv, release=NOW) -> str:
    with pytest.raises(UsageError) as caught:
        parse(argv, release)
    return str(caught.value)


def test_a_documented_command_line_is_taken_whole():
    arguments = parse(
        [
            "model",
            *[
                "--host",
                "0.0.0.0",
                "--port",
                "9000",
                "--data-parallel-size",
                "64",
                "--data-parallel-rank",
                "3",
            ],
            *["--tensor-parallel-size=8", "--enable-expert-parallel", "--served-model-name", "a", "b"],
            *["--max_model_len", "17k", "--gpu-memory-utilization", "0.9", "--no-enable-prefix-caching"],
            *["--trust-remote-code", "--quantization", "ascend", "--speculative-config", MTP, "--seed", "-1"],
            *["--compilation-config.cudagraph_mode", "FULL_DECODE_ONLY", "-O3"],
        ],
        (0, 11, 0),
    )
    assert arguments.model == "model"
    assert arguments.options["port"] == 9000
    assert arguments.options["tensor-parallel-size"] == 8
    assert arguments.options["max-model-len"] == 17000
    assert arguments.options["seed"] == -1
    assert arguments.options["served-model-name"] == ["a", "b"]
    assert arguments.options["enable-expert-parallel"]
    assert arguments.options["enable-prefix-caching"] is False
    assert arguments.options["speculative-config"]["method"] == "mtp"


def test_a_key_inside_a_json_option():
    argv = ["m", "--compilation-config.pass_config.level", "2", "--compilation-config.mode", "x"]
    assert parse(argv, NOW).options["compilation-config"] == {"pass_config": {"level": 2}, "mode": "x"}


@pytest.mark.parametrize(
    ("argv", "release", "words"),
    [
        (["m", "--nonsense", "1"], NOW, "vllm: error: unrecognized arguments: --nonsense 1"),
        (["m", "more"], NOW, "unrecognized arguments: more"),
        (["m", "--data-parallel-rank", "0"], OLD, "unrecognized arguments: --data-parallel-rank 0"),
        (["m", "-dpn", "0"], OLD, "unrecognized arguments: -dpn 0"),
        (["m", "--disable-log-requests"], NOW, "unrecognized arguments: --disable-log-requests"),
        (["m", "--port", "http"], NOW, "argument --port: invalid int value: 'http'"),
        (["m", "--gpu-memory-utilization", "most"], NOW, "invalid float value: 'most'"),
        (["m", "--max-model-len", "long"], NOW, "invalid int value: 'long'"),
        (["m", "--port"], NOW, "argument --port: expected one argument"),
        (["m", "--port", "--enforce-eager"], NOW, "argument --port: expected one argument"),
        (["m", "--kv-transfer-config", '{"a":1,}'], NOW, "argument --kv-transfer-config: Value"),
        (["m", "--additional-config", "{"], NOW, "cannot be converted"),
        (["m", "--dtype", "fp7"], NOW, "invalid choice: 'fp7' (choose from 'auto',"),
        (["m", "--enforce-eager=1"], NOW, "ignored explicit argument '1'"),
        (["m", "--data-parallel", "2"], NOW, "ambiguous option: --data-parallel could match"),
    ],
)
def test_what_the_engine_refuses(argv, release, words):
    assert words in fault(argv, release)


def test_an_unambiguous_beginning_is_enough():
    assert parse(["m", "--served-model", "x"], NOW).options["served-model-name"] == ["x"]


def test_json_survives_as_typed():
    value = {"a": 'it\'s "quoted"\n$(x) `y` ü', "b": [1, {"c": None}]}
    argv = ["m", "--additional-config", json.dumps(value)]
    assert parse(argv, NOW).options["additional-config"] == value


@pytest.mark.parametrize(
    ("name", "releases"),
    [
        ("data-parallel-size", "0.9.1 0.11.0 0.13.0 0.18.0 0.23.0 0.32.0"),
        ("headless", "0.9.1 0.11.0 0.13.0 0.18.0 0.23.0 0.32.0"),
        ("data-parallel-rank", "0.11.0 0.13.0 0.18.0 0.23.0 0.32.0"),
        ("data-parallel-hybrid-lb", "0.11.0 0.13.0 0.18.0 0.23.0 0.32.0"),
        ("enable-dbo", "0.11.0 0.13.0 0.18.0 0.23.0 0.32.0"),
        ("data-parallel-external-lb", "0.13.0 0.18.0 0.23.0 0.32.0"),
        ("nnodes", "0.13.0 0.18.0 0.23.0 0.32.0"),
        ("all2all-backend", "0.13.0 0.18.0 0.23.0 0.32.0"),
        ("ubatch-size", "0.18.0 0.23.0 0.32.0"),
        ("shutdown-timeout", "0.18.0 0.23.0 0.32.0"),
        ("disable-log-requests", "0.9.1 0.11.0 0.13.0"),
        ("data-parallel-multi-port-external-lb", "0.23.0 0.32.0"),
        ("data-parallel-supervisor-port", "0.23.0 0.32.0"),
        ("sse-keep-alive-interval", "0.32.0"),
        ("calculate-kv-scales", "0.9.1 0.11.0 0.13.0 0.18.0 0.23.0"),
    ],
)
def test_a_flag_exists_in_its_releases_only(name, releases):
    every = ("0.9.1", "0.11.0", "0.13.0", "0.18.0", "0.23.0", "0.32.0")
    assert [one for one in every if name in known(version(one))] == releases.split()


def test_a_release_candidate_counts_as_its_release():
    assert version("0.10.1rc1") == (0, 10, 1)
    assert version("0.9") == (0, 9)
