"""A pool beside the engine: the file of its client, a master that answers, blocks that are put and found again."""

import json
import os
import socket
import sys
import threading

import pytest
from waiting import until

from dplaunch.node.rehearsal.pool import BLOCKS, Client, Pool
from dplaunch.node.rehearsal.vllm.failure import FatalError
from dplaunch.node.rehearsal.vllm.log import Log
from dplaunch.node.rehearsal.vllm.machine import Machine
from dplaunch.node.rehearsal.vllm.store import connect
from dplaunch.node.rehearsal.wire import Wire

START = "import sys; sys.path.insert(0, {!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"
HERE = "127.0.0.1"


def pool(backend: str = "mooncake", role: str = "kv_both", **own) -> dict:
    extra = {"backend": backend, **own}
    inner = {"kv_connector": "AscendStoreConnector", "kv_role": role, "kv_connector_extra_config": extra}
    handover = {"kv_connector": "MooncakeConnectorV1"}
    connectors = {"connectors": [handover, inner]}
    return {"kv_connector": "MultiConnector", "kv_role": role, "kv_connector_extra_config": connectors}


def join(config, env, host=HERE):
    return connect(config, Machine({"VLLM_HOST_IP": host, **env}, (0, 23)), Log((0, 23)))


@pytest.fixture
def client(tmp_path):
    """``client(backend, port)``: the environment that names a client's file with this master."""

    def write(backend: str, port: int, host: str = HERE) -> dict[str, str]:
        path = tmp_path / "client"
        if backend == "mooncake":
            path.write_text(json.dumps({"master_server_address": f"{host}:{port}"}))
            return {"MOONCAKE_CONFIG_PATH": str(path)}
        path.write_text(f"ock.mmc.log_level = error\nock.mmc.meta_service_url = tcp://{host}:{port}\n")
        return {"MMC_LOCAL_CONFIG_PATH": str(path)}

    return write


@pytest.mark.parametrize("backend", ["mooncake", "memcache"])
def test_it_needs_a_master_that_answers(client, backend):
    with socket.create_server((HERE, 0)) as server:
        env = client(backend, server.getsockname()[1])
        assert join(pool(backend), env)
    with pytest.raises(FatalError, match=r"RuntimeError: .* failed\."):
        join(pool(backend), env)


def test_it_needs_the_file_and_the_variable(client, tmp_path):
    with pytest.raises(FatalError, match="'MOONCAKE_CONFIG_PATH' is not set"):
        join(pool("mooncake"), {})
    with pytest.raises(FatalError, match="FileNotFoundError"):
        join(pool("mooncake"), {"MOONCAKE_CONFIG_PATH": str(tmp_path / "gone")})


def test_other_stores_need_neither():
    assert join(pool("yuanrong"), {}) is None
    assert join({"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}, {}) is None
    assert join(None, {}) is None


def test_a_rehearsal_on_this_machine_leaves_a_pool_elsewhere_alone(client, capfd):
    assert join(pool(), client("mooncake", 50088, "192.0.2.9")) is None
    assert "the pool at 192.0.2.9:50088 is no part of this rehearsal" in capfd.readouterr().out


@pytest.fixture
def master():
    """The port of a pool."""
    shared = Pool()

    def accept():
        while True:
            sock, _ = server.accept()
            threading.Thread(target=shared.converse, args=(sock,), daemon=True).start()

    server = socket.create_server((HERE, 0))
    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


def test_blocks_are_found_up_to_the_first_that_is_missing_until_who_brought_them_leaves(master):
    one, other = Wire(socket.create_connection((HERE, master))), Client(HERE, master)
    one.send("put", blocks=[("a", ["x"]), ("b", ["y"])])
    assert one.receive() == [{"kind": "done"}]
    other.put([("d", ["z"])])
    assert other.get(["a", "b", "c", "d"]) == [["x"], ["y"]]
    one.sock.close()
    assert until(lambda: other.get(["a"]) == [])
    assert other.get(["d"]) == [["z"]]


def test_a_full_pool_forgets_the_oldest(master):
    one = Client(HERE, master)
    one.put([(str(n), []) for n in range(BLOCKS + 1)])
    assert [one.get(["0"]), one.get(["1"])] == [[], [[]]]


PROMPT = " ".join(f"word{n}" for n in range(40))
"""Two blocks and a half."""
FOUND, ASKED = "external_prefix_cache_hits", "external_prefix_cache_queries"


@pytest.fixture
def start_master(engine_of, bundle):
    """``start_master(port)``: the stand-in of a pool's master, listening."""

    def run(port: int):
        argv = [sys.executable, "-I", "-S", "-c", START.format(str(bundle))]
        service = engine_of([*argv, "dplaunch-service", str(port), "mooncake_master"], {**os.environ}, port)
        until(lambda: service.health() == 200)
        return service

    return run


@pytest.fixture
def join_pool(start, client):
    """``join_pool(port, …)``: an engine with this pool, ready."""

    def run(port: int, role: str = "kv_both", seed: str = "0", **own):
        env = {**client("mooncake", port), "PYTHONHASHSEED": seed, "VLLM_HOST_IP": HERE}
        config = {"kv_connector": "AscendStoreConnector", "kv_role": role, "kv_connector_extra_config": own}
        return start("--kv-transfer-config", json.dumps(config), "--block-size", "16", env=env)

    return run


def test_what_one_engine_computed_another_finds_in_the_pool(start_master, join_pool, free_port_block):
    port = free_port_block()
    start_master(port)
    first, second, stranger, decode, reader = (
        join_pool(port),
        join_pool(port),
        join_pool(port, seed="1"),
        join_pool(port, "kv_consumer"),
        join_pool(port, "kv_consumer", consumer_is_to_load=True),
    )
    for engine in (first, second, stranger, decode, reader):
        assert engine.ready().text(PROMPT) == "word0 word1 word2 word3"
    assert [engine.metric(FOUND) for engine in (first, second, stranger, decode, reader)] == [0, 32, 0, 0, 32]
    assert second.metric('prompt_tokens_by_source_total{engine="0",model_name="m",source="external') == 32
    assert second.logged("kvpool hit tokens: 32, need to load: 32")
    assert second.text(PROMPT)
    assert [second.metric(name) for name in (FOUND, ASKED, "vllm:prefix_cache_hits")] == [32, 48, 32]


def test_without_its_master_an_engine_computes_all_and_complains(start_master, join_pool, free_port_block):
    port = free_port_block()
    master = start_master(port)
    one, other = join_pool(port).ready(), join_pool(port).ready()
    master.end()
    assert one.text(PROMPT) == other.text(PROMPT)
    line = one.logged("Failed to put 2 keys out of 2. error_codes=[-900]. Check memory and store capacity.")
    assert " ERROR " in line
    start_master(port)
    new = " ".join(reversed(PROMPT.split()))
    assert one.text(new) == other.text(new)
    assert [one.metric(FOUND), other.metric(FOUND)] == [0, 32]
