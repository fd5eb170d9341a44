import re
from collections import Counter

import pytest
from ranklogs import following, quiet

from dplaunch.diagnose import SUSPECT, catalogue, explain, recognise
from dplaunch.model.diagnosis import LineKind

SIGNATURES = catalogue()
SENTENCE = re.compile(r"[\w`'$/].*[^.]", re.DOTALL)


def test_the_catalogue_is_long_and_names_nothing_twice():
    assert len(SIGNATURES) >= 80
    assert [name for name, count in Counter(s.id.lower() for s in SIGNATURES).items() if count > 1] == []


def test_every_kind_of_failure_is_in_it():
    assert {s.kind for s in SIGNATURES} == {
        LineKind.CAUSE,
        LineKind.GENERIC,
        LineKind.CONSEQUENCE,
        LineKind.EMPTY,
        LineKind.WARNING,
    }
    hccl = {f"EI{n:04}" for n in range(1, 21)} | {f"EJ{n:04}" for n in range(1, 5)}
    assert hccl <= {s.id for s in SIGNATURES}


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.id)
def test_an_excerpt_is_recognised_as_its_own(signature):
    found = [recognise(line) for line in signature.excerpt]
    assert signature in found
    assert {one.id for one in found if one} == {signature.id}


def test_a_signature_has_a_cause_a_remedy_and_a_source():
    texts = {s.id: (s.cause, s.remedy, s.source) for s in SIGNATURES}
    assert [
        name for name, three in texts.items() if not all(SENTENCE.fullmatch(text) for text in three)
    ] == []
    assert {engine for s in SIGNATURES for engine in s.engines} <= {
        "vllm",
        "vllm-ascend",
        "mindie",
        "fastdeploy",
    }
    assert [s.id for s in SIGNATURES if not s.words or min(map(len, s.words)) < 2] == []
    assert [s.id for s in SIGNATURES if re.compile(s.pattern).groups] == []


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: Mooncake transfer failed, ret: -1",
        "nixl._bindings.nixlBackendError: NIXL_ERR_BACKEND",
        "RuntimeError: NIXL compatibility hash mismatch. Local: a, Remote: b",
        "ValueError: hash mismatch for kv layout",
        "bind: Address already in use",
        "listen: EADDRINUSE",
        "  Value error, KV transfer 'decode' config has a conflicting data parallel size. Expected 4, but got 2.",
        "ImportError: ascend_transport.so: cannot open shared object file: No such file or directory",
        "ImportError: libmooncake_store.so.1: cannot open shared object file: No such file or directory",
        "E0425 10:01:17.412760 112112 rdma_context.cpp:91] rdma_create_event_channel failed: No such device",
        "E0425 10:01:17.412760 112112 rdma_context.cpp:91] rdma_create_id failed",
        "W0425 10:01:17.412760 112112 rdma_context.cpp:91] No RDMA devices found, check your device installation",
        "E0425 10:01:17.412760 112112 rdma_context.cpp:91] ibv_open_device failed",
        "zmq.error.ZMQError: No such device (addr='tcp://{{nic}}:5600')",
        "ERROR UCX_NET_DEVICES=eth9 not found",
        "ValueError: invalid literal for int() with base 10: '{{ports.kv}}'",
        "exec /opt/router failed: No such file or directory",
        'exec: "vllm-router": executable file not found in $PATH',
        "bash: line 1: numactl: command not found",
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/x/config.json'",
        "torch.OutOfMemoryError: out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: NPU error, error code is 507899",
        "ValueError: Loaded weights leave no NPU memory for the KV cache",
        "ValueError: No available memory for the cache blocks.",
        "ValueError: Free memory on device npu:0 (3/61 GiB) on startup is less than desired GPU memory utilization",
        "error: --kv-transfer-config was already given",
        "ValueError: multiple values for kv_connector",
    ],
)
def test_a_failure_that_other_launchers_know_is_known(line):
    """As in ``worker/pd_diagnostics.py`` of GPUStack 2.3.0."""
    assert recognise(line) is not None


def test_excerpts_are_spelt_as_the_libraries_spell_them():
    """Threads on the web lose underscores, asterisks and angle brackets."""
    lost = re.compile(
        r"\b(?:HCCL|ASCEND|VLLM|GLOO) [A-Z]{3,}|&(?:lt|gt|amp);|\\_|device ip|(?<!_)\binit\(\)|\*\*\w"
    )
    assert [line for s in SIGNATURES for line in s.excerpt if lost.search(line)] == []
    threads = [
        "HCCL BUFFSIZE is too SMALL, maxBs = 64",
        "'device ip' is not set correctly, must be set when multi Server or HCCL INTRA ROCE ENABLE enabled",
    ]
    assert [recognise(line).id for line in threads] == ["hccl-buffer-small", "device-ip-missing"]


def test_a_start_up_without_trouble_is_recognised_as_nothing():
    assert [line for line in quiet(3) if recognise(line) and "ulimit" not in line] == []


def test_nodes_send_every_line_that_may_be_known_and_hardly_any_other():
    assert [s.id for s in SIGNATURES if not all(re.search(SUSPECT, line) for line in s.excerpt)] == []
    sent = [line for line in quiet(3) if re.search(SUSPECT, line)]
    assert [line for line in sent if "ulimit" not in line and "Driver Version: is invalid" not in line] == []


def test_lines_that_ranks_log_after_another_failed_are_never_a_cause():
    kinds = {one.kind for line in following(3)[len(quiet(3)) :] if (one := recognise(line))}
    assert kinds == {LineKind.CONSEQUENCE, LineKind.EMPTY}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("EI0006", "EI0006"),
        (" ei0006 ", "EI0006"),
        ("EE9999", "EZ9999"),
        ("103900", "kv-connect-failed"),
        ("Port-Of-Process", "port-of-process"),
        ("OSError: [Errno 98] Address already in use", "address-in-use"),
        ("nothing of that kind", None),
    ],
)
def test_a_failure_is_explained_by_its_name_its_code_or_its_line(word, name):
    found = explain(word)
    assert (found.id if found else None) == name


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("vllm: error: unrecognized arguments: --disable-log-requests", "flag"),
        ("    assert self.stats_update_address is not None", "VLLM_DP_"),
        ('    assert "tp_size" in prefill', "sizes"),
        ("ValueError: prefill_tp_size: 1 must be greater than or equal to the decode_tp_size: 2", "tp of prefill"),
        ("RuntimeError: Message from engine with unexpected data parallel rank: 3", "twice"),
        ("RuntimeError: Did not receive response from front-end process within 5 minutes", "rank 0"),
        ("No interface of h1 carries 192.0.0.1; it has: lo 127.0.0.1.", "interface"),
        ("torch.OutOfMemoryError: NPU out of memory. Tried to allocate", "memory"),
        ("EJ0001: HCCP initialisation failed", "earlier process"),
        ("prefill/run_dp_template.sh: line 80: exec: vllm: not found", "not installed"),
    ],
)  # fmt: skip
def test_lines_of_our_own_scripts_and_of_the_rehearsal_are_known_too(line, word):
    found = recognise(line)
    assert found is not None
    assert word in found.cause
