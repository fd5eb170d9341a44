"""omni-infer's inventory: each machine's engines as its starter starts them."""

import pytest

from dplaunch.errors import UsageError
from dplaunch.importer import Wanted, bring, read

MACHINE = """
          ansible_host: 192.0.2.{n}
          host_ip: 192.0.2.{master}
          ansible_user: root
          ascend_rt_visible_devices: 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
          container_name: omni
          env: {{ROLE: {role}, API_PORT: {port}, MASTER_PORT: 8089, MODEL_PATH: /data/DeepSeek-R1-W8A8, KV_RANK: 0,
            HCCL_BUFFSIZE: {buffer}}}
          args: {{num-servers: 2, num-dp: 2, tp: {tp}, model-path: $MODEL_PATH, base-api-port: $API_PORT,
            master-ip: $HOST_IP, master-port: $MASTER_PORT, served-model-name: deepseek, max-model-len: 30000,
            no-enable-prefix-caching: "", extra-args: {{max-num-seqs: 32, enable-expert-parallel: ""}},
            kv-transfer-config: {{kv_connector: {connector}, kv_role: {kv}, kv_rank: $KV_RANK}}}}
"""


def inventory(connector="MooncakeConnectorV1"):
    prefill = {
        "role": "prefill",
        "port": 9001,
        "tp": 8,
        "buffer": 256,
        "kv": "kv_producer",
        "connector": connector,
    }
    decode = {
        "role": "decode",
        "port": 9100,
        "tp": 1,
        "buffer": 1024,
        "kv": "kv_consumer",
        "connector": connector,
    }
    return "".join(
        (
            "all:\n  children:\n    P:\n      hosts:",
            *(f"\n        p{n}:{MACHINE.format(n=n, master=n, **prefill)}" for n in (1, 2)),
            "    D:\n      hosts:",
            *(f"\n        d{n}:{MACHINE.format(n=n, master=3, **decode)}" for n in (3, 4)),
            "    C:\n      hosts:\n        c0: {ansible_host: 192.0.2.1, env: {ROLE: proxy, API_PORT: 7000}}\n",
        )
    )


def wanted(**more):
    return Wanted((("", "server_profiles.yml"),), **more)


def test_ranks_of_decode_count_through_its_machines_and_each_prefill_machine_is_a_group():
    launches = read(wanted(), lambda _: inventory()).launches
    ranks = [(one.role, one.host[-1], one.env["VLLM_DP_SIZE"], one.env["VLLM_DP_RANK"]) for one in launches]
    assert ranks[:3] == [("prefill", "1", "2", "0"), ("prefill", "1", "2", "1"), ("prefill", "2", "2", "0")]
    assert [rank for role, *_, rank in ranks if role == "decode"] == [str(n) for n in range(32)]
    assert launches[1].env["ASCEND_RT_VISIBLE_DEVICES"] == "8,9,10,11,12,13,14,15"
    assert launches[1].words[0] == "/data/DeepSeek-R1-W8A8"


def test_the_cluster_file_starts_the_same_but_for_what_is_explained(expect, request):
    found = bring(wanted(version="0.23.0"), lambda _: inventory())
    what = sorted({f"{one.what}: {one.why}" for one in found.differences})
    expect(request.path.parent / "cases" / "profiles.txt", "\n".join((found.text, *what, "")))
    assert (found.engines, found.complete) == (36, True)


def test_a_connector_that_the_engine_lacks_gives_way_and_is_listed():
    found = bring(wanted(version="0.23.0"), lambda _: inventory("AsyncConnector"))
    assert "connector: MooncakeConnectorV1" in found.text
    assert [one.text.partition(":")[0] for one in found.left if one.matters] == [
        "vllm-ascend 0.23.0 has no connector AsyncConnector"
    ]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("          container_name", "          odd_key: 1\n          container_name", "odd_key"),
        ("tp: 8,", "tp: 8, other-arg: 1,", "other-arg"),
        ("ansible_host: 192.0.2.2", "ansible_host: 127.0.0.1", "this machine's own"),
        ("KV_RANK: 0,", "KV_RANK: 0, TABLE: $(ls /tmp),", "TABLE is the output of a command"),
        ("container_name: omni", "container_name: other", "different names (other, omni …)"),
    ],
)
def test_what_is_not_carried_over_is_listed_with_its_place(old, new, what):
    source = read(wanted(), lambda _: inventory().replace(old, new, 1))
    assert any(what in one.text for one in source.left if one.matters)


def test_an_engine_over_several_machines_is_refused():
    with pytest.raises(UsageError, match="p1 has 16 devices, and tp is 32"):
        read(wanted(), lambda _: inventory().replace("tp: 8", "tp: 32"))
