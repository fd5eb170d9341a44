"""A pool beside the engine: at its start it reads its client's file and needs a master that answers."""

import json
import socket

import pytest

from dplaunch.node.rehearsal.vllm.failure import FatalError
from dplaunch.node.rehearsal.vllm.store import connect


def pool(backend: str) -> dict:
    inner = {"kv_connector": "AscendStoreConnector", "kv_connector_extra_config": {"backend": backend}}
    return {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"connectors": [{"kv_connector": "MooncakeConnectorV1"}, inner]},
    }


@pytest.fixture
def client(tmp_path):
    """``client(backend, port)``: the environment that names a client's file with this master."""

    def write(backend: str, port: int) -> dict[str, str]:
        path = tmp_path / "client"
        if backend == "mooncake":
            path.write_text(json.dumps({"master_server_address": f"127.0.0.1:{port}"}))
            return {"MOONCAKE_CONFIG_PATH": str(path)}
        path.write_text(f"ock.mmc.log_level = error\nock.mmc.meta_service_url = tcp://127.0.0.1:{port}\n")
        return {"MMC_LOCAL_CONFIG_PATH": str(path)}

    return write


@pytest.mark.parametrize("backend", ["mooncake", "memcache"])
def test_it_needs_a_master_that_answers(client, backend):
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = client(backend, server.getsockname()[1])
        connect(pool(backend), env)
    with pytest.raises(FatalError, match=r"RuntimeError: .* failed\."):
        connect(pool(backend), env)


def test_it_needs_the_file_and_the_variable(client, tmp_path):
    with pytest.raises(FatalError, match="'MOONCAKE_CONFIG_PATH' is not set"):
        connect(pool("mooncake"), {})
    with pytest.raises(FatalError, match="FileNotFoundError"):
        connect(pool("mooncake"), {"MOONCAKE_CONFIG_PATH": str(tmp_path / "gone")})


def test_other_stores_need_neither():
    connect(pool("yuanrong"), {})
    connect({"kv_connector": "OffloadingConnector", "kv_role": "kv_both"}, {})
    connect(None, {})
