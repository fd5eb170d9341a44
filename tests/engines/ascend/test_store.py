"""Pools beside engines: the files that their clients read, and what a pool cannot do without."""

import json

import pytest
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.model.cluster import KvTransferSpec, ServiceSpec

MASTER = ServiceSpec(
    name="mooncake",
    node="n2",
    command=("mooncake_master", "--port", "50088"),
    ports=(50088,),
)
META = ServiceSpec(
    name="meta",
    node="n1",
    command=("python3", "-c", "from memcache_hybrid import MetaService; MetaService.main()"),
    ports=(5000, 6000),
)
POOL = KvTransferSpec(connector="AscendStoreConnector")
MEMCACHE = KvTransferSpec(connector="AscendStoreConnector", extra={"backend": "memcache"})


def pooled(*services: ServiceSpec, transfer=POOL, **changes):
    return four_p_four_d(kv_transfer=transfer, services=services, **changes)


def file(planned, name: str) -> str:
    return next(file.text for file in planned.nodes[0].files if file.path == name)


def script_of(planned) -> str:
    return file(planned, "prefill/run_dp_template.sh")


def test_mooncakes_clients_find_the_master_that_the_file_starts():
    store = {"global_segment_size": "4GB", "device_name": "mlx5_0"}
    planned = plan.build(pooled(MASTER, transfer=replace(POOL, store=store)))
    assert json.loads(file(planned, "prefill/mooncake.json")) == {
        "metadata_server": "P2PHANDSHAKE",
        "device_name": "mlx5_0",
        "master_server_address": "192.0.0.2:50088",
        "protocol": "ascend",
        "global_segment_size": "4GB",
    }
    assert 'export MOONCAKE_CONFIG_PATH="${script_folder-}/mooncake.json"\n' in script_of(planned)
    assert 'script_folder=$(cd "$(dirname "$0")" && pwd)\n' in script_of(planned)


@pytest.mark.parametrize(
    ("command", "port"),
    [
        (("/opt/bin/mooncake_master",), 50051),
        (("numactl", "-N0", "mooncake_master", "--rpc_port=7000"), 7000),
        (("bash", "-c", "ulimit -n 65536; exec mooncake_master --port 7000 -v 1"), 7000),
    ],
)
def test_the_masters_port_is_that_of_its_command(command, port):
    planned = plan.build(pooled(replace(MASTER, command=command, ports=(port,))))
    assert f'"192.0.0.2:{port}"' in file(planned, "prefill/mooncake.json")


def test_memcaches_clients_find_its_meta_service_and_config_store():
    transfer = replace(MEMCACHE, store={"ock.mmc.local_service.dram.size": "1GB"})
    planned = plan.build(pooled(META, transfer=transfer))
    assert file(planned, "prefill/mmc-local.conf").splitlines() == [
        "ock.mmc.meta_service_url = tcp://192.0.0.1:5000",
        "ock.mmc.local_service.config_store_url = tcp://192.0.0.1:6000",
        "ock.mmc.log_level = error",
        "ock.mmc.local_service.world_size = 256",
        "ock.mmc.local_service.protocol = device_sdma",
        "ock.mmc.local_service.dram.size = 1GB",
    ]
    assert "export MMC_LOCAL_CONFIG_PATH=" in script_of(planned)


def test_memcaches_meta_service_reads_the_same_addresses():
    planned = plan.build(pooled(META, transfer=MEMCACHE))
    assert file(planned, "services/meta/mmc-meta.conf").splitlines() == [
        "ock.mmc.meta_service_url = tcp://192.0.0.1:5000",
        "ock.mmc.meta_service.config_store_url = tcp://192.0.0.1:6000",
        "ock.mmc.log_level = error",
    ]
    named = 'export MMC_META_CONFIG_PATH="${DPLAUNCH_ROOT-}/services/meta/mmc-meta.conf"\n'
    assert named in file(planned, "services/meta/run_service.sh")


def test_a_meta_service_that_names_its_own_file_keeps_it():
    own = replace(META, env={"MMC_META_CONFIG_PATH": "/etc/mmc-meta.conf"})
    planned = plan.build(pooled(own, transfer=MEMCACHE))
    assert not [f.path for node in planned.nodes for f in node.files if f.path.endswith("mmc-meta.conf")]


@pytest.mark.parametrize("transfer", [POOL, KvTransferSpec(connector="MooncakeConnectorV1")])
def test_those_who_look_prompts_up_in_a_pool_count_what_they_find(transfer):
    services = (MASTER,) if transfer is POOL else ()
    counting = {e.role for e in plan.build(pooled(*services, transfer=transfer)).endpoints if e.api.looked_up}
    assert counting == ({"prefill"} if transfer is POOL else set())


def test_a_file_that_the_user_names_is_not_computed():
    env = {"MOONCAKE_CONFIG_PATH": "/etc/mooncake.json"}
    spec = pooled()
    planned = plan.build(replace(spec, roles=tuple(replace(role, env=env) for role in spec.roles)))
    assert not [f.path for node in planned.nodes for f in node.files if f.path.endswith("mooncake.json")]
    assert "export MOONCAKE_CONFIG_PATH=/etc/mooncake.json\n" in script_of(planned)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (pooled(), "kv_transfer.connector"),
        (pooled(transfer=MEMCACHE), "kv_transfer.connector"),
        (pooled(MASTER, transfer=MEMCACHE), "kv_transfer.connector"),
        (pooled(replace(META, ports=(5000,)), transfer=MEMCACHE), "services.meta.ports"),
        (pooled(replace(MASTER, before=False)), "services.mooncake.start"),
        (pooled(replace(MASTER, ports=())), "services.mooncake.ports"),
        (
            cluster(serve(), kv_transfer=KvTransferSpec(connector="OffloadingConnector")),
            "kv_transfer.extra",
        ),
        (pooled(replace(MASTER, command=("mooncake_master",))), "services.mooncake.ports"),
        (
            pooled(transfer=KvTransferSpec(connector="MooncakeConnectorV1", store={"a": 1})),
            "kv_transfer.store",
        ),
    ],
)
def test_what_a_pool_lacks_is_said(spec, key):
    assert [problem.key for problem in adapter("vllm-ascend").check(spec) if not problem.warning] == [key]


@pytest.mark.parametrize(
    "spec",
    [
        pooled(MASTER),
        pooled(META, transfer=MEMCACHE),
        pooled(transfer=replace(POOL, store={"master_server_address": "192.0.2.9:50088"})),
        cluster(serve(), kv_transfer=POOL, services=(replace(MASTER, node="n1"),)),
    ],
)
def test_a_pool_with_its_master_has_no_problem(spec):
    assert [problem.text for problem in adapter("vllm-ascend").check(spec) if not problem.warning] == []
