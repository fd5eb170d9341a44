import re

import pytest

from dplaunch.engines import signatures, startup

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
    assert [s.name for s in startup.VLLM if re.search(s.pattern, line)] == [stage]


def test_stages_are_in_the_order_of_the_lines():
    assert [s.name for s in startup.VLLM] == list(dict.fromkeys(name for name, _ in LINES))


def test_loading_tells_how_far_it_is():
    weights = next(s for s in startup.VLLM if s.name == "weights")
    line = next(line for name, line in LINES if "45%" in line)
    assert re.search(weights.pattern, line)["percent"] == "45"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("vllm: error: unrecognized arguments: --disable-log-requests", "flag"),
        ("    assert self.stats_update_address is not None", "VLLM_DP_"),
        ('    assert "tp_size" in prefill', "sizes"),
        (
            "ValueError: prefill_tp_size: 1 must be greater than or equal to the decode_tp_size: 2",
            "tp of prefill",
        ),
        ("ValueError: Unsupported connector type: MooncakeConnector", "connector"),
        ("RuntimeError: Message from engine with unexpected data parallel rank: 3", "twice"),
        ("RuntimeError: Configuration mismatch detected for engine 1", "different flags"),
        ("RuntimeError: Did not receive response from front-end process within 5 minutes", "rank 0"),
        ("Unable to find address for: eth9", "interface"),
        ("No interface of h1 carries 192.0.0.1; it has: lo 127.0.0.1.", "interface"),
        ("OSError: [Errno 98] Address already in use", "port is taken"),
        ("torch.OutOfMemoryError: NPU out of memory. Tried to allocate", "memory"),
        ("[PID: 1] 2026-01-01 EI0006: Getting socket times out.", "another rank"),
        ("status: 103900", "KV transfer"),
        ("EJ0001: HCCP initialisation failed", "earlier process"),
        ("prefill/run_dp_template.sh: line 80: exec: vllm: not found", "not installed"),
    ],
)
def test_a_fatal_line_is_explained(line, word):
    first = next(s for s in signatures.VLLM if re.search(s.pattern, line))
    assert word in first.meaning
    assert first.hint


def test_harmless_lines_explain_nothing():
    harmless = [
        "WARNING Found ulimit of 20000 ... [Errno 24] Too many open files",
        "INFO: 127.0.0.1:5012 - GET /health 200 OK",
        "Engine 000: Avg prompt throughput: 0.0 tokens/s, Running: 0 reqs",
        *(line for _, line in LINES),
    ]
    assert not [line for line in harmless for s in signatures.VLLM if re.search(s.pattern, line)]
