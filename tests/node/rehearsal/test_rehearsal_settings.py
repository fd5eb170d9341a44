"""What an engine decides, and refuses, before it loads: seat, devices, KV transfer, by release."""

import json

import pytest

from dplaunch.node.rehearsal.vllm import machine
from dplaunch.node.rehearsal.vllm.arguments import parse
from dplaunch.node.rehearsal.vllm.failure import FatalError
from dplaunch.node.rehearsal.vllm.flags import version
from dplaunch.node.rehearsal.vllm.knobs import Knobs
from dplaunch.node.rehearsal.vllm.settings import Settings

CONTRACT_A = {
    "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED": "1",
    "VLLM_DP_SIZE": "4",
    "VLLM_DP_MASTER_IP": "192.0.2.1",
    "VLLM_DP_MASTER_PORT": "13395",
    "VLLM_DP_RANK_LOCAL": "1",
    "VLLM_DP_RANK": "3",
    "VLLM_DP_SIZE_LOCAL": "2",
}
SIZES = {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 64, "tp_size": 1}}


def settings(*argv: str, release: str = "0.23.0", **env: str) -> Settings:
    env.setdefault("VLLM_HOST_IP", "127.0.0.1")
    arguments = parse(["m", *argv], version(release))
    return Settings(arguments, Knobs(env, 0), machine.Machine(env, version(release)), release)


def refusal(*argv: str, release: str = "0.23.0", **env: str) -> str:
    with pytest.raises(FatalError) as caught:
        settings(*argv, release=release, **env)
    return caught.value.text


def kv(connector: str = "MooncakeConnectorV1", role: str = "kv_producer", **more) -> list[str]:
    value = {"kv_connector": connector, "kv_role": role, "kv_connector_extra_config": SIZES, **more}
    return ["--kv-transfer-config", json.dumps(value)]


def test_contract_b_seat():
    flags = ["--data-parallel-size", "64", "--data-parallel-rank", "5", "-dpa", "192.0.2.1", "-dpp", "13395"]
    seat = settings(*flags, "-tp", "2").parallel
    assert (seat.mode, seat.size, seat.rank, seat.address, seat.port) == (
        "external",
        64,
        5,
        "192.0.2.1",
        13395,
    )
    assert seat.world == 2


def test_contract_a_seat_comes_from_the_environment():
    seat = settings(release="0.9.1", **CONTRACT_A).parallel
    assert (seat.mode, seat.size, seat.rank, seat.port) == ("contract-a", 4, 3, 13395)
    assert not seat.together


def test_contract_a_is_ignored_on_newer_engines():
    assert settings(release="0.11.0", **CONTRACT_A).parallel.mode == "offline"


def test_flags_win_over_the_environment():
    flags = ["--data-parallel-size", "2", "--data-parallel-rank", "1"]
    seat = settings(*flags, release="0.11.0", **CONTRACT_A).parallel
    assert (seat.mode, seat.size, seat.rank) == ("external", 2, 1)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-dp", "2", "-dpn", "2"], "data_parallel_rank (2) must be in the range [0, 2)"),
        (["-dpn", "1"], "data_parallel_rank (1) must be in the range [0, 1)"),
        (["-dp", "2", "-dpn", "0", "-dpl", "2"], "data_parallel_size_local must be 1 or None"),
        (["-dp", "2", "-dpe"], "data_parallel_rank or node_rank must be specified"),
        (
            ["-dp", "4", "--headless", "-dpl", "2", "-asc", "1"],
            "--api-server-count=1 cannot be used with --headless",
        ),
        (["-dp", "4", "-dph"], "data_parallel_size_local must be set"),
        (["--config", "x.yaml"], "does not read --config"),
    ],
)
def test_seats_that_do_not_exist(argv, words):
    assert words in refusal(*argv)


def test_ranks_compare_all_parallel_settings():
    def fingerprint(*argv: str, release="0.23.0"):
        return settings("-dp", "2", "-dpn", "0", *argv, release=release).parallel.fingerprint

    assert fingerprint() == fingerprint("--port", "1")
    prints = {fingerprint(), fingerprint("-tp", "2"), fingerprint("-ep"), fingerprint("--enable-dbo")}
    assert len(prints) == 4
    assert fingerprint(release="0.13.0") == ""


@pytest.mark.parametrize(
    ("env", "argv", "words"),
    [
        (
            {"ASCEND_RT_VISIBLE_DEVICES": "0,1"},
            ["-tp", "4"],
            "World size (4) is larger than the number of available NPUs (2)",
        ),
        ({"CUDA_VISIBLE_DEVICES": ""}, [], "available GPUs (0)"),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1,2"}, ["-tp", "2", "-pp", "2"], "World size (4)"),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,0"}, ["-tp", "2"], "not a list of distinct device ids"),
        ({"ASCEND_RT_VISIBLE_DEVICES": "a"}, [], "not a list of distinct device ids"),
        (
            {"ASCEND_RT_VISIBLE_DEVICES": "16", "DPLAUNCH_REHEARSAL_DEVICES": "16"},
            [],
            "Invalid device ID: 16",
        ),
        ({"DPLAUNCH_REHEARSAL_DEVICES": "8"}, ["-tp", "16"], "available NPUs (8)"),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1,2"}, ["-dp", "4"], "World size (4)"),
    ],
)
def test_devices_that_do_not_suffice(env, argv, words):
    assert words in refusal(*argv, **env)


def test_contract_a_slices_the_list_of_the_whole_node():
    found = settings("-tp", "2", release="0.9.1", ASCEND_RT_VISIBLE_DEVICES="4,5,6,7", **CONTRACT_A)
    assert found.devices == [6, 7]
    words = refusal("-tp", "2", release="0.9.1", ASCEND_RT_VISIBLE_DEVICES="0,1", **CONTRACT_A)
    assert "available NPUs (0)" in words


def test_no_device_list_means_cpu():
    assert settings("-tp", "4").platform == "cpu"


def test_interfaces_are_looked_up():
    machine.check_interfaces({"GLOO_SOCKET_IFNAME": "lo", "HCCL_SOCKET_IFNAME": "=lo,eth9"})
    with pytest.raises(FatalError, match="Unable to find address for: nope0"):
        machine.check_interfaces({"GLOO_SOCKET_IFNAME": "nope0"})
    with pytest.raises(FatalError, match="Unable to find interface for: nope0"):
        machine.check_interfaces({"HCCL_SOCKET_IFNAME": "nope0"})


def test_mooncake_ports_follow_the_rank():
    flags = ["-dp", "2", "-dpn", "1", "-tp", "8"]
    found = settings(*flags, *kv(kv_port="61000")).transfer
    assert found.ports == list(range(61008, 61016))
    assert found.host == "127.0.0.1"
    assert settings(*flags, *kv(role="kv_consumer")).transfer.ports == []


def test_nixl_has_one_port_per_rank_on_both_sides():
    env = {"VLLM_NIXL_SIDE_CHANNEL_PORT": "5700", "VLLM_NIXL_SIDE_CHANNEL_HOST": "192.0.2.7"}
    found = settings("-dp", "2", "-dpn", "1", "-tp", "4", *kv("NixlConnector", "kv_consumer"), **env).transfer
    assert (found.ports, found.host) == ([5701], "192.0.2.7")


def test_rank_table_connector_of_the_first_contract():
    table = {"DISAGGREGATED_PREFILL_RANK_TABLE_PATH": "/data/ranktable.json"}
    found = settings(
        "-tp", "2", *kv("LLMDataDistCMgrConnector"), release="0.9.1", **CONTRACT_A, **table
    ).transfer
    assert found.ports == [5563, 5564]
    assert "RANK_TABLE_PATH" in refusal(*kv("LLMDataDistCMgrConnector"), release="0.9.1")


def test_the_connector_inside_a_multi_connector():
    inner = [{"kv_connector": "MooncakeConnectorV1", "kv_port": "61100", "kv_connector_extra_config": SIZES}]
    inner.append({"kv_connector": "AscendStoreConnector", "kv_role": "kv_both"})
    found = settings(*kv("MultiConnector", kv_connector_extra_config={"connectors": inner})).transfer
    assert (found.connector, found.ports) == ("MooncakeConnectorV1", [61100])


def test_a_store_hands_nothing_over():
    assert settings(*kv("AscendStoreConnector", "kv_both")).transfer is None


@pytest.mark.parametrize(
    ("flags", "release", "words"),
    [
        (kv(kv_connector_extra_config={"prefill": SIZES["prefill"]}), "0.23.0", "AssertionError"),
        (kv(kv_connector_extra_config={}), "0.23.0", "AssertionError"),
        (
            kv(
                kv_connector_extra_config={
                    "prefill": {"dp_size": 1, "tp_size": 1},
                    "decode": {"dp_size": 1, "tp_size": 4},
                }
            ),
            "0.23.0",
            "prefill_tp_size: 1 must be greater than or equal to the decode_tp_size: 4",
        ),
        (kv("MooncakeConnectorV1"), "0.9.1", "Unsupported connector type: MooncakeConnectorV1"),
        (kv("LLMDataDistCMgrConnector"), "0.13.0", "Unsupported connector type"),
        (kv("NoSuchConnector"), "0.23.0", "Unsupported connector type: NoSuchConnector"),
        (kv("MooncakeLayerwiseConnector"), "0.10.2", "Unsupported connector type: MooncakeLayerwise"),
        (
            kv(kv_connector_module_path="vllm_ascend.distributed.mooncake_connector"),
            "0.18.0",
            "No module named 'vllm_ascend",
        ),
        (
            kv("OffloadingConnector", kv_connector_extra_config={"spec_name": "NPUOffloadingSpec"}),
            "0.23.0",
            "num_cpu_blocks must be specified",
        ),
        (kv(role="kv_boss"), "0.23.0", "Unsupported kv_role: kv_boss"),
        (kv(kv_prot=1), "0.23.0", "unexpected keyword argument 'kv_prot'"),
        (kv("NixlConnector", kv_load_failure_policy="fail"), "0.12.0", "argument 'kv_load_failure_policy'"),
        (kv(kv_load_failure_policy="retry"), "0.23.0", "Input should be 'recompute' or 'fail'"),
        (["--kv-transfer-config", '{"kv_connector": "NixlConnector"}'], "0.23.0", "Please specify kv_role"),
    ],
)
def test_transfers_that_are_refused(flags, release, words):
    assert words in refusal(*flags, release=release)


@pytest.mark.parametrize(
    ("release", "connector", "name"),
    [
        ("0.9.1", "LLMDataDistCMgrConnector", "VLLM_LLMDD_ABORT_REQUEST_TIMEOUT"),
        ("0.10.1", "MooncakeConnectorV1", "VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT"),
        ("0.13.0", "MooncakeConnectorV1", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT"),
        ("0.23.0", "MooncakeConnectorV1", "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT"),
        ("0.21.0", "NixlConnector", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT"),
    ],
)
def test_the_abort_time_has_a_name_per_release(release, connector, name):
    env = {name: "7", "DISAGGREGATED_PREFILL_RANK_TABLE_PATH": "x"}
    assert settings(*kv(connector), release=release, **env).transfer.keep == 7.0


def test_nixl_leases_kv_from_0_22_on():
    env = {"VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "7"}
    assert settings(*kv("NixlConnector"), release="0.22.0", **env).transfer.keep == 30.0
    lease = kv("NixlConnector", kv_connector_extra_config={"kv_lease_duration": 45})
    assert settings(*lease, release="0.22.0", **env).transfer.keep == 45.0


@pytest.mark.parametrize(
    ("connector", "release", "policy", "outcome"),
    [
        ("LLMDataDistCMgrConnector", "0.9.1", None, "hang"),
        ("MooncakeConnectorV1", "0.13.0", "fail", "garbage"),
        ("MooncakeConnectorV1", "0.18.0", None, "garbage"),
        ("MooncakeConnectorV1", "0.20.2", None, "fail"),
        ("MooncakeConnectorV1", "0.23.0", "recompute", "recompute"),
        ("NixlConnector", "0.11.0", None, "crash"),
        ("NixlConnector", "0.12.0", None, "recompute"),
        ("NixlConnector", "0.16.0", None, "recompute"),
        ("NixlConnector", "0.16.0", "fail", "fail"),
        ("NixlConnector", "0.17.0", None, "fail"),
        ("NixlConnector", "0.23.0", "recompute", "recompute"),
    ],
)
def test_a_failed_pull_ends_by_connector_release_and_policy(connector, release, policy, outcome):
    more = {"kv_load_failure_policy": policy} if policy else {}
    env = {"DISAGGREGATED_PREFILL_RANK_TABLE_PATH": "x"}
    assert settings(*kv(connector, **more), release=release, **env).transfer.on_failure == outcome


def test_the_policy_of_a_multi_connector_is_that_of_the_whole():
    inner = [{"kv_connector": "NixlConnector", "kv_load_failure_policy": "fail"}]
    more = {"kv_load_failure_policy": "recompute", "kv_connector_extra_config": {"connectors": inner}}
    assert settings(*kv("MultiConnector", **more)).transfer.on_failure == "recompute"


def test_faults_may_befall_one_rank_only():
    env = {
        "DPLAUNCH_REHEARSAL_ONLY_RANK": "1",
        "DPLAUNCH_REHEARSAL_SLOW": "3",
        "DPLAUNCH_REHEARSAL_SPEED": "1",
    }
    assert (Knobs(env, 0).slow, Knobs(env, 0).speed) == (0.0, 1.0)
    assert Knobs(env, 1).slow == 3.0


MTP = ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}']
LOW_LATENCY = ["--enable-dbo", "--all2all-backend", "deepep_low_latency"]
NIXL_EP = ["--enable-dbo", "--all2all-backend", "nixl_ep"]


@pytest.mark.parametrize(
    ("release", "argv", "words"),
    [
        ("0.11.0", ["--enable-dbo"], "allgather_reducescatter is not supported"),
        ("0.23.0", ["--enable-dbo"], "allgather_reducescatter is not supported"),
        ("0.23.0", NIXL_EP, "nixl_ep is not supported"),
        ("0.23.0", LOW_LATENCY, None),
        ("0.33.0", NIXL_EP, None),
        ("0.23.0", [], None),
    ],
)
def test_overlap_needs_a_back_end_on_gpus(release, argv, words):
    if words:
        assert words in refusal(*argv, release=release, CUDA_VISIBLE_DEVICES="0")
    else:
        settings(*argv, release=release, CUDA_VISIBLE_DEVICES="0")


def test_before_the_flag_the_back_end_of_overlap_is_a_variable():
    settings("--enable-dbo", release="0.11.0", CUDA_VISIBLE_DEVICES="0", VLLM_ALL2ALL_BACKEND=LOW_LATENCY[-1])


def test_overlap_of_0_9_1_does_not_go_with_speculation():
    on = {"VLLM_ASCEND_ENABLE_DBO": "1", "ASCEND_RT_VISIBLE_DEVICES": "0"}
    assert "not included MTP" in refusal(*MTP, release="0.9.1", **on)
    settings(release="0.9.1", **on)
    settings(*MTP, release="0.13.0", **on)
    settings(*MTP, release="0.9.1", **{**on, "VLLM_ASCEND_ENABLE_DBO": "0"})
