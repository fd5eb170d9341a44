"""The router's script, run with programs that only tell how they were called."""

import sys

import pytest
from fakevllm import TELLER, Stage
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch import plan
from dplaunch.model.cluster import KvTransferSpec, RoleSpec, RouterSpec, RuntimeSpec, SecretRef
from dplaunch.plan.router import flow as choose_flow

PD = (
    RoleSpec(name="prefill", nodes=("n1",), groups=2, tp=1),
    RoleSpec(name="decode", nodes=("n1",), dp=2, tp=1),
)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def routed(router, *roles: RoleSpec, **changes):
    changes.setdefault("kv_transfer", four_p_four_d().kv_transfer if len(roles) > 1 else None)
    return plan.build(
        cluster(*roles, router=router, **changes), router_files={"__main__.py": "import probe\n"}
    )


def run(stage, planned, **env):
    stage.put(planned.nodes[0])
    router = next(p for p in planned.processes if p.name == "router")
    ran = stage.run(router, **env)
    assert (ran.code, ran.err) == (0, "")
    return ran


def test_ours(stage):
    stage.program("python3", TELLER)
    router = RouterSpec(node="n1", port=8001, workers=2, policy="round-robin", args={"max-body": 9})
    planned = routed(router, *PD, served_model_name="m x", runtime=RuntimeSpec(setup=("cd /",)))
    ran = run(stage, planned, PYTHONPATH="/other", https_proxy="x")
    folder = str(stage.root / "router")
    assert ran.argv == [
        "-m", "dprouter",
        "--members", f"{folder}/members.json",
        "--handover", f"{folder}/handover.sock",
        "--host", "192.0.0.1",
        "--port", "8001",
        "--workers", "2",
        "--policy", "round-robin",
        "--model", "m x",
        "--log-level", "info",
        "--max-body", "9",
    ]  # fmt: skip
    assert ran.env["PYTHONPATH"] == f"{folder}:/other"
    assert "https_proxy" not in ran.env


def test_ours_is_imported_from_beside_the_script(stage):
    planned = routed(RouterSpec(node="n1"), *PD, runtime=RuntimeSpec(python=sys.executable))
    stage.put(planned.nodes[0])
    (stage.root / "router" / "dprouter" / "__main__.py").write_text("import sys; print(sys.argv[1])\n")
    ran = stage.run(planned.processes[-1])
    assert (ran.code, ran.out) == (0, "--members\n")


def test_vllm_router_with_split_roles(stage):
    stage.program("vllm-router", TELLER)
    planned = routed(RouterSpec(node="n1", kind="vllm-router", args={"policy": "round_robin"}), *PD)
    assert run(stage, planned).argv == [
        "--host", "192.0.0.1",
        "--port", "8000",
        "--health-check-interval-secs", "1",
        "--policy", "round_robin",
        "--vllm-pd-disaggregation",
        "--kv-connector", "nixl",
        "--prefill", "http://192.0.0.1:9000",
        "--prefill", "http://192.0.0.1:9001",
        "--decode", "http://192.0.0.1:9002",
        "--decode", "http://192.0.0.1:9003",
    ]  # fmt: skip


def test_vllm_router_without_split(stage):
    stage.program("vllm-router", TELLER)
    router = RouterSpec(node="n1", kind="vllm-router", args={"health-check-interval-secs": 5})
    assert run(stage, routed(router, serve(dp=2, tp=1))).argv == [
        "--host", "192.0.0.1",
        "--port", "8000",
        "--health-check-interval-secs", "5",
        "--worker-urls", "http://192.0.0.1:9000", "http://192.0.0.1:9001",
    ]  # fmt: skip


def test_the_example_proxy_in_its_long_form(stage):
    stage.program("py", TELLER)
    router = RouterSpec(node="n1", kind="vllm-ascend", path="/x y/proxy.py", args={"max-retries": 2})
    planned = routed(router, *PD, runtime=RuntimeSpec(python="py"))
    assert run(stage, planned).argv == [
        "/x y/proxy.py",
        "--host", "192.0.0.1",
        "--port", "8000",
        "--max-retries", "2",
        "--prefiller-hosts", "192.0.0.1", "192.0.0.1",
        "--prefiller-ports", "9000", "9001",
        "--decoder-hosts", "192.0.0.1", "192.0.0.1",
        "--decoder-ports", "9002", "9003",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["dplaunch", "vllm-router", "vllm-ascend"])
def test_a_host_among_the_args_wins(stage, kind):
    stage.program("python3", TELLER)
    stage.program("vllm-router", TELLER)
    found = run(
        stage, routed(RouterSpec(node="n1", kind=kind, path="/p", args={"host": "0.0.0.0"}), *PD)
    ).argv
    assert found[found.index("--host") + 1] == "0.0.0.0"
    assert found.count("--host") == 1


PROXY = RouterSpec(node="n1", kind="vllm-ascend", path="/x/load_balance_proxy_server_example.py")
LAYERWISE_PROXY = replace(PROXY, path="/x/proxy_layerwise_server_example.py")
FOREIGN = RouterSpec(node="n1", kind="vllm-router", path="/x/layerwise")


@pytest.mark.parametrize(
    ("connector", "router", "flow"),
    [
        ("MooncakeConnectorV1", RouterSpec(node="n1"), "pull"),
        ("MooncakeConnectorV1", None, "pull"),
        ("MooncakeLayerwiseConnector", RouterSpec(node="n1"), "push"),
        ("MooncakeLayerwiseConnector", LAYERWISE_PROXY, "push"),
        ("MooncakeLayerwiseConnector", None, "push"),
        ("AscendStoreConnector", RouterSpec(node="n1"), "pull"),
        ("AscendStoreConnector", PROXY, "pull"),
        ("AscendStoreConnector", LAYERWISE_PROXY, "push"),
        ("AscendStoreConnector", FOREIGN, "pull"),
    ],
)
def test_the_connector_decides_the_flow_of_split_roles_and_else_the_router(connector, router, flow):
    spec = cluster(*PD, kv_transfer=KvTransferSpec(connector=connector))
    assert choose_flow(spec, router) == flow
    assert choose_flow(cluster(serve(dp=2, tp=1)), router) == "alone"


@pytest.mark.parametrize(
    ("kind", "variable", "health", "models", "last"),
    [
        ("dplaunch", "DPROUTER_API_KEY", "/live", "", False),
        ("vllm-router", "VLLM_API_KEY", "/health", "/v1/models", True),
        ("vllm-ascend", "OPENAI_API_KEY", "/healthcheck", "", True),
    ],
)
def test_what_differs_between_the_kinds(kind, variable, health, models, last):
    key = SecretRef("env", "MY_KEY")
    planned = routed(RouterSpec(node="n1", kind=kind, path="/p"), *PD, api_key=key)
    found = next(p for p in planned.processes if p.name == "router")
    assert found.env == {variable: key}
    assert (found.endpoints[0].api.health, found.endpoints[0].api.models, bool(found.after)) == (
        health,
        models,
        last,
    )
    paths = {f.path: f.text for f in planned.nodes[0].files}
    assert variable in paths["router/run_router.sh"]
    assert "MY_KEY" not in paths["router/run_router.sh"]
    assert (planned.members is not None) == (kind == "dplaunch")
    assert ("router/dprouter/__main__.py" in paths) == (kind == "dplaunch")
