"""What looks wrong and is right, or is just still right: no problem and no warning."""

import pytest

RIGHT = [
    {"cluster": f"cluster: {'a' * 63}"},
    {"engine": "engine: {kind: rehearsal, version: v0.20.2rc1}"},
    {"engine": "engine: {kind: rehearsal, version: 0.11.0.post1}"},
    {"model": 'model: "no"'},
    {"model": "model: 1:75"},
    {"model": "model: !!str 7"},
    {"ready": "ready_timeout: 0.5"},
    {"ready": "ready_timeout: '90'"},
    {"ssh": "ssh: {port: 65535, host_keys: accept-new}"},
    {"ssh": "ssh: {connect_timeout: 5m}"},
    {"ssh": "ssh: {jump: 'u@a:22,b'}"},
    {"weights": "weights: {path: /data/x, check: sha256}"},
    {"defaults": "defaults: {args: {compilation-config.cudagraph_mode: FULL, O3: true}}"},
    {"defaults": "defaults: {args: {a: 2024-01-02, b: '010', c: '1:30', d: 'yes', e: '1e5', f: =}}"},
    {"defaults": "defaults: {args: {a: null, b: }}"},
    {"ports": "ports: {kv: 40000}"},
    {"router": "router: {kind: vllm-ascend, path: p}"},
    {"router": "router: {workers: 4, policy: round-robin}"},
    {"warmup": "warmup: {prompt_tokens: 92}", "defaults": "defaults: {args: {max-model-len: 100}}"},
    {"overrides": 'overrides: {serve-0: {}, serve-1: {}, "node:n1": {}}'},
]


@pytest.mark.parametrize("sections", RIGHT, ids=lambda sections: ", ".join(sections.values()))
def test_a_value_that_looks_wrong_is_accepted(problems, small, sections):
    assert problems(small(**sections)) == ()


NODES = [
    "[{name: n1, host: 192.0.2.1}, {name: n2, host: 'fe80::1%eth0', address: 192.0.2.2}]",
    "[{name: n1, host: localhost, address: 127.0.0.1}, {name: n2, host: localhost, address: 127.0.0.2}]",
]


@pytest.mark.parametrize("nodes", NODES)
def test_nodes_with_addresses_of_their_own_are_accepted(problems, small, nodes):
    assert problems(small(nodes=f"nodes: {nodes}")) == ()


SERVE = [
    (2, "dp: 2, ep: 2"),
    (2, "dp: 2, ep: true"),
    (2, "dp: 2, ep: false"),
    (1, "dp: 2, tp: 3, ep: 6"),
    (1, "ep: 1"),
    (2, "dp: 2, tp: 4, dcp: 2"),
    (1, "pcp: 2, tp: 2, ep: 4"),
    (1, "tp: 1, pcp: 2, dcp: 2"),
    (1, "tp: 2, pcp: 2, dcp: 4"),
    (2, "groups: 4, master: [n1, n1, n2, n2]"),
    (4, "groups: 8"),
    (4, "groups: 2, dp: 2"),
    (4, "groups: 2, dp: 2, master: [n2, 192.0.2.4]"),
]


@pytest.mark.parametrize(("count", "sizes"), SERVE)
def test_sizes_that_fit_are_accepted(problems, small, count, sizes):
    names = f"n[1-{count}]"
    nodes = f'nodes: [{{name: "{names}", host: "192.0.2.[1-{count}]"}}]'
    assert problems(small(nodes=nodes, roles=f'roles: {{serve: {{nodes: "{names}", {sizes}}}}}')) == ()


def test_the_routers_node_needs_no_engine(problems, small):
    assert problems(small(roles="roles: {serve: {nodes: n2}}")) == ()


ONE_NODE = "nodes: [{name: n1, host: 192.0.2.1}]"
NIXL = "kv_transfer: {connector: NixlConnector}"


@pytest.mark.parametrize(
    "sections",
    [
        {"hardware": "hardware: cpu"},
        {"hardware": "hardware: gpu-8", "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 8}}'},
        {"hardware": "hardware: {devices: 1}", "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2}}'},
        {
            "hardware": "hardware: gpu-8",
            "nodes": ONE_NODE,
            "roles": "roles: {prefill: {nodes: n1, tp: 4}, decode: {nodes: n1, dp: 4}}",
            "kv": NIXL,
        },
    ],
)
def test_devices_that_suffice_are_accepted(problems, small, sections):
    assert problems(small(engine='engine: {kind: vllm, version: "0.23.0"}', **sections)) == ()


def two_roles(sizes=""):
    return f"roles: {{prefill: {{nodes: n1{sizes}}}, decode: {{nodes: n2{sizes}}}}}"


PORTS = [
    # decode connects to prefill's KV ports, and binds none of its own
    (
        "roles: {prefill: {nodes: n1}, decode: {nodes: n2, ports: {kv: 40000}}}",
        {"kv": "kv_transfer: {connector: MooncakeConnectorV1}"},
    ),
    (two_roles(), {}),
    (two_roles(), {"kv": "kv_transfer: {connector: x}"}),
    (two_roles(), {"ports": "ports: {kv: 61000}"}),
    ("roles: {prefill: {nodes: n1, dp: 2, tp: 4}, decode: {nodes: n2}}", {"ports": "ports: {kv: 32760}"}),
    (two_roles(", tp: 8"), {"ports": "ports: {kv: 28000}"}),
    (two_roles(", tp: 8"), {"ports": "ports: {kv: 19992}"}),
    (two_roles(", tp: 8"), {"ports": "ports: {kv: 20000}", "kv": NIXL}),
    (
        two_roles(", tp: 8"),
        {
            "ports": "ports: {kv: 20000}",
            "kv": "kv_transfer: {connector: MultiConnector, extra: {connectors: [{kv_connector: NixlConnector}]}}",
        },
    ),
]


@pytest.mark.parametrize(("roles", "sections"), PORTS)
def test_kv_ports_that_nothing_else_takes_are_accepted(problems, small, roles, sections):
    hardware = {"hardware": "hardware: {devices: 8}"} if "tp: 8" in roles else {}
    assert problems(small(roles=roles, **hardware, **sections)) == ()
