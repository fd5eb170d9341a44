import re

import pytest

from dplaunch.engines.vllm import facts

LINES = [
    ("arguments", "(APIServer pid=7) INFO 09-24 20:59:57 [utils.py:233] non-default args: {'model': 'm'}"),
    ("waiting for its group", "INFO Started DP Coordinator process (PID: 93)"),
    ("waiting for its group", "(EngineCore_DP3 pid=9) INFO Waiting for init message from front-end."),
    ("engine", "INFO Initializing a V1 LLM engine (v0.23.0) with config: model='m'"),
    ("rendezvous", "rank 3 in world size 64 is assigned as DP rank 3, PP rank 0, TP rank 0, EP rank 3"),
    ("weights", "Starting to load model vllm-ascend/DeepSeek-R1-W8A8..."),
    ("weights", "Loading safetensors checkpoint shards:  45% Completed | 5/11 [00:03<00:04]"),
    ("memory", "Loading model weights took 42.1234 GB"),
    ("memory", "Loading weights took 0.01 seconds"),
    ("KV cache", "GPU KV cache size: 212,992 tokens"),
    ("KV cache", "CPU KV cache size: 2,097,152 tokens, Maximum concurrency"),
    ("graphs", "Graph capturing finished in 35 secs, took 0.42 GiB"),
    ("HTTP server", "init engine (profile, create kv cache, warmup model) took 61.20 seconds"),
    ("listening", "Starting vLLM API server 0 on http://0.0.0.0:9000"),
    ("listening", "Starting vLLM server on http://0.0.0.0:8110"),
    ("serving", "INFO:     Application startup complete."),
]


@pytest.mark.parametrize(("stage", "line"), LINES)
def test_a_line_belongs_to_one_stage(stage, line):
    assert [s.name for s in facts.STAGES if re.search(s.pattern, line)] == [stage]


def test_stages_are_in_the_order_of_the_lines():
    assert [s.name for s in facts.STAGES] == list(dict.fromkeys(name for name, _ in LINES))


def test_loading_tells_how_far_it_is():
    weights = next(s for s in facts.STAGES if s.name == "weights")
    line = next(line for name, line in LINES if "45%" in line)
    assert re.search(weights.pattern, line)["percent"] == "45"
