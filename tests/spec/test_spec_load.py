"""Whole files: what they mean, and where a problem of another room is placed."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch import spec
from dplaunch.errors import Problem, SpecError
from dplaunch.model.cluster import (
    Container,
    EngineSpec,
    Hardware,
    KvTransferSpec,
    NodeSpec,
    Override,
    RoleSpec,
    RouterSpec,
    RuntimeSpec,
    SecretRef,
    SshSpec,
    WarmupSpec,
    WeightsSpec,
)
from dplaunch.spec.reference import reference

PRODUCTION = """
cluster: deepseek-r1
engine: {kind: vllm-ascend, version: "0.23.0"}
model: vllm-ascend/DeepSeek-R1-W8A8
served_model_name: deepseek_r1
ssh: {user: root}
hardware: atlas-800t-a3
nodes:
  - {name: "n[1-8]", host: "192.0.0.[1-8]"}
runtime:
  setup: ["source set_env.sh"]
  python: python3.11
defaults:
  env: {OMP_PROC_BIND: false, OMP_NUM_THREADS: 010, HCCL_BUFFSIZE: 1}
  args: {seed: 1024, max_model_len: 17000, trust-remote-code: true, speculative-config: {method: mtp, n: [1]}}
roles:
  decode: {nodes: "n[5-8]", master: 192.0.0.6, dp: 64, ep: 64, env: {HCCL_BUFFSIZE: 1024}}
  prefill: {nodes: "n[1-4]", groups: 4, dp: 2, tp: 8, ep: 16, args: {seed: 1, enforce-eager: true}}
kv_transfer: {connector: MooncakeConnectorV1, extra: {a: null}}
ports: {http: 9100, kv: 61100}
router: {port: 8001}
ready_timeout: 1h30m
"""


def test_the_documented_production_file(load):
    loaded = load(PRODUCTION)
    cluster = loaded.spec
    assert loaded.warnings == ()
    assert cluster.engine == EngineSpec(kind="vllm-ascend", version="0.23.0")
    assert (cluster.name, cluster.model, cluster.served_model_name, cluster.source) == (
        "deepseek-r1",
        "vllm-ascend/DeepSeek-R1-W8A8",
        "deepseek_r1",
        "c.yaml",
    )
    assert cluster.hardware == Hardware(name="atlas-800t-a3", devices=tuple(range(16)), family="a3")
    root = SshSpec(user="root")
    assert cluster.nodes == tuple(
        NodeSpec(
            name=f"n{n}", host=f"192.0.0.{n}", address=f"192.0.0.{n}", devices=tuple(range(16)), ssh=root
        )
        for n in range(1, 9)
    )
    assert cluster.runtime == RuntimeSpec(setup=("source set_env.sh",), python="python3.11")
    args = {
        "seed": 1024,
        "max-model-len": 17000,
        "trust-remote-code": True,
        "speculative-config": {"method": "mtp", "n": (1,)},
    }
    env = {"OMP_PROC_BIND": "false", "OMP_NUM_THREADS": "010", "HCCL_BUFFSIZE": "1"}
    ports = {"http": 9100, "kv": 61100}
    prefill, decode = cluster.roles
    assert prefill == RoleSpec(
        name="prefill",
        nodes=("n1", "n2", "n3", "n4"),
        groups=4,
        dp=2,
        tp=8,
        expert_parallel=True,
        env=env,
        args={**args, "seed": 1, "enforce-eager": True},
        ports=ports,
    )
    assert decode == RoleSpec(
        name="decode",
        nodes=("n5", "n6", "n7", "n8"),
        dp=64,
        expert_parallel=True,
        masters=("n6",),
        env={**env, "HCCL_BUFFSIZE": "1024"},
        args=args,
        ports=ports,
    )
    assert cluster.kv_transfer == KvTransferSpec(connector="MooncakeConnectorV1", extra={"a": None})
    assert cluster.router == RouterSpec(node="n1", port=8001)
    assert cluster.ready_timeout == 5400.0


def test_a_small_file_gets_every_default(load, small):
    cluster = load(small()).spec
    assert cluster.engine == EngineSpec(kind="rehearsal", version="0.23.0")
    assert cluster.hardware == Hardware()
    assert cluster.served_model_name == "m"
    assert cluster.nodes[0] == NodeSpec(name="n1", host="192.0.2.1", address="192.0.2.1")
    assert cluster.roles == (RoleSpec(name="serve", nodes=("n1", "n2"), dp=2),)
    assert cluster.runtime == RuntimeSpec()
    assert cluster.router == RouterSpec(node="n1")
    assert (cluster.kv_transfer, cluster.api_key, cluster.overrides, cluster.hooks) == (None, None, {}, {})
    assert cluster.ready_timeout == 2400.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{}", WarmupSpec(requests_per_engine=2, prompt_tokens=1024, output_tokens=8)),
        ("{requests_per_engine: 5, prompt_tokens: 7, output_tokens: 1}", WarmupSpec(requests_per_engine=5, prompt_tokens=7, output_tokens=1)),
    ],
)  # fmt: skip
def test_a_warm_up_is_only_where_it_is_written(load, small, written, meant):
    assert load(small(w=f"warmup: {written}")).spec.warmup == meant
    assert load(small()).spec.warmup is None


def test_nodes_have_what_is_their_own(load, small):
    nodes = """
nodes:
  - name: n[1-2]
    host: [a]
""".replace("[a]", "box[3-4]")
    nodes += """
    address: 192.0.2.[5-6]
    nic: eth1
    devices: 4
    ssh: {port: 2222, host_keys: accept-new, connect_timeout: 1m}
    env: {A: 1}
    args: {b_c: 2}
  - {name: n3, host: localhost}
  - {name: 192.0.2.9}
"""
    cluster = load(
        small(
            nodes=nodes,
            hardware="hardware: {devices: 2, name: mine, family: a2}",
            ssh="ssh: {user: me, port: 22, key: k, jump: j}",
            roles="roles: {serve: {nodes: [n1, n2, n3, 192.0.2.9], dp: 4}}",
        )
    ).spec
    own = SshSpec(user="me", port=2222, key="k", jump="j", host_keys="accept-new", connect_timeout=60.0)
    shared = SshSpec(user="me", port=22, key="k", jump="j")
    more = {"nic": "eth1", "devices": (0, 1, 2, 3), "ssh": own, "env": {"A": "1"}, "args": {"b-c": 2}}
    assert cluster.nodes == (
        NodeSpec(name="n1", host="box3", address="192.0.2.5", **more),
        NodeSpec(name="n2", host="box4", address="192.0.2.6", **more),
        NodeSpec(name="n3", host="localhost", address="127.0.0.1", devices=(0, 1), ssh=shared),
        NodeSpec(name="192.0.2.9", host="192.0.2.9", address="192.0.2.9", devices=(0, 1), ssh=shared),
    )
    assert cluster.hardware == Hardware(name="mine", devices=(0, 1), family="a2")


def test_a_node_may_have_no_devices_of_its_own(load, small):
    nodes = "nodes: [{name: n1, host: 192.0.2.1, devices: 0}, {name: n2, host: 192.0.2.2}]"
    cluster = load(small(nodes=nodes, hardware="hardware: {devices: 1}")).spec
    assert [node.devices for node in cluster.nodes] == [(), (0,)]


@pytest.mark.parametrize(
    ("engine", "hardware", "family"),
    [
        ('{kind: vllm-ascend, version: "0.23.0"}', "{devices: 16}", "a3"),
        ('{kind: vllm-ascend, version: "0.23.0"}', "{devices: 15}", "a2"),
        ('{kind: vllm-ascend, version: "0.23.0"}', "{devices: 16, family: a2}", "a2"),
        ('{kind: vllm-ascend, version: "0.23.0"}', "atlas-800i-a3", "a3"),
        ('{kind: vllm-ascend, version: "0.23.0"}', "atlas-800t-a2", "a2"),
        ('{kind: vllm-ascend, version: "0.23.0"}', "atlas-800i-a2", "a2"),
        ('{kind: vllm, version: "0.23.0"}', "{devices: 8}", "gpu"),
        ('{kind: vllm, version: "0.23.0"}', "gpu-8", "gpu"),
        ('{kind: vllm, version: "0.23.0"}', "{devices: 0}", "cpu"),
        ('{kind: vllm, version: "0.23.0"}', "cpu", "cpu"),
        ("{kind: rehearsal}", "{devices: 16}", "cpu"),
    ],
)
def test_the_family_follows_from_engine_and_devices(load, small, engine, hardware, family):
    cluster = load(small(engine=f"engine: {engine}", hardware=f"hardware: {hardware}")).spec
    assert cluster.hardware.family == family
    assert {node.devices for node in cluster.nodes} == {cluster.hardware.devices}


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("atlas-800t-a3", 16),
        ("atlas-800i-a3", 16),
        ("atlas-800t-a2", 8),
        ("atlas-800i-a2", 8),
        ("gpu-8", 8),
        ("cpu", 0),
    ],
)
def test_hardware_has_names(load, small, name, devices):
    hardware = load(small(hardware=f"hardware: {name}")).spec.hardware
    assert (hardware.name, hardware.devices) == (name, tuple(range(devices)))


def test_clients_may_ask_for_several_names(load, small):
    names = load(small(served="served_model_name: [deepseek_r1, r1, sql-lora]")).spec
    assert (names.served_model_name, names.aliases) == ("deepseek_r1", ("r1", "sql-lora"))
    assert load(small(served="served_model_name: r1")).spec.aliases == ()
    assert load(small()).spec.served_model_name == "m"


def test_masters_are_named_by_name_host_or_address_and_the_name_wins(load, small):
    nodes = "nodes: [{name: n1, host: n2, address: 192.0.2.1}, {name: n2, host: b, address: 192.0.2.2}]"
    for master, name in (("n1", "n1"), ("n2", "n2"), ("b", "n2"), ("192.0.2.1", "n1")):
        roles = f'roles: {{serve: {{nodes: "n[1-2]", dp: 2, master: {master}}}}}'
        assert load(small(nodes=nodes, roles=roles)).spec.roles[0].masters == (name,)
    roles = 'roles: {serve: {nodes: "n[1-2]", groups: 2, master: "n[1-2]"}}'
    assert load(small(roles=roles)).spec.roles[0].masters == ("n1", "n2")


def test_a_role_has_its_own_sizes_and_ports(load, small):
    sizes = "groups: 2, dp: 1, tp: 4, pp: 2, pcp: 3, dcp: 2, ep: false"
    cluster = load(
        small(
            roles=f'roles: {{serve: {{nodes: "n[1-2]", {sizes}, ports: {{rpc: 1, kv: 7}}}}}}',
            ports="ports: {kv: 5, http: 6}",
        )
    ).spec
    (role,) = cluster.roles
    assert (role.groups, role.dp, role.tp, role.pp, role.pcp, role.dcp) == (2, 1, 4, 2, 3, 2)
    assert role.expert_parallel is False
    assert role.ports == {"http": 6, "rpc": 1, "kv": 7}


def test_the_sections_that_are_rare(load, small):
    cluster = load(
        small(
            api_key="api_key: {from_file: key.txt}",
            runtime="runtime: {container: box, engine: podman}",
            hooks="hooks: {before_up: a b, after_down: c}",
            router="router: {kind: vllm-ascend, node: n2, path: /p, args: {log_level: debug}}",
            env="defaults: {env: {T: {from_env: TOKEN}, P: 'a:${P}:$$'}}",
            overrides='overrides: {"serve-[0-1]": {env: {A: true}}, "node:n[1-2]": {args: {b_c: [1, x]}}}',
        )
    ).spec
    assert cluster.api_key == SecretRef("file", "key.txt")
    assert cluster.container == Container("box", "podman")
    assert cluster.hooks == {"before_up": "a b", "after_down": "c"}
    assert cluster.router == RouterSpec(node="n2", kind="vllm-ascend", path="/p", args={"log-level": "debug"})
    assert cluster.roles[0].env == {"T": SecretRef("env", "TOKEN"), "P": "a:${P}:$$"}
    engines, nodes = Override(env={"A": "true"}), Override(args={"b-c": (1, "x")})
    assert cluster.overrides == {
        "serve-0": engines,
        "serve-1": engines,
        "node:n1": nodes,
        "node:n2": nodes,
    }


@pytest.mark.parametrize(
    ("model", "written", "meant"),
    [
        ("some/model", "", WeightsSpec()),
        ("/data/m", "", WeightsSpec(path="/data/m")),
        ("some/model", "weights: {path: /data/x}", WeightsSpec(path="/data/x")),
        ("/data/m", "weights: {path: /data/x, check: sha256}", WeightsSpec(path="/data/x", check="sha256")),
    ],
)
def test_the_weights_are_where_the_model_is_unless_said_otherwise(load, small, model, written, meant):
    assert load(small(model=f"model: {model}", weights=written)).spec.weights == meant


def test_a_router_can_be_switched_off(load, small):
    assert load(small(router="router: {kind: none}")).spec.router is None


def test_the_first_node_is_the_routers_unless_another_is_named(load, small):
    assert load(small()).spec.router == RouterSpec(node="n1")
    router = "router: {node: n2, workers: 4, policy: round-robin}"
    assert load(small(router=router)).spec.router == RouterSpec(node="n2", workers=4, policy="round-robin")


def test_a_rehearsal_of_two_roles_hands_kv_over(load, small):
    roles = "roles: {prefill: {nodes: n1}, decode: {nodes: n2}}"
    found = load(small(roles=roles)).spec.kv_transfer
    assert found == KvTransferSpec(connector="MooncakeConnectorV1")
    own = load(small(roles=roles, kv="kv_transfer: {connector: X, rank_table: /r}")).spec.kv_transfer
    assert own == KvTransferSpec(connector="X", rank_table="/r")


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90.0), ("1.5", 1.5), ("40m", 2400.0), ("2h", 7200.0), ("1h1m1s", 3661.0)]
)
def test_ready_timeout_is_a_duration(load, small, written, seconds):
    assert load(small(t=f"ready_timeout: {written}")).spec.ready_timeout == seconds


def test_a_role_may_have_its_own_time_to_drain(load, small):
    roles = "roles:\n  prefill: {nodes: n1, drain_timeout: 2m}\n  decode: {nodes: n1}"
    spec = load(small(roles=roles, t="drain_timeout: 90")).spec
    assert (spec.drain_timeout, [role.drain_timeout for role in spec.roles]) == (90.0, [120.0, 90.0])
    assert [role.drain_timeout for role in load(small()).spec.roles] == [600.0]


def test_the_users_script_is_read_beside_the_cluster_file(small):
    asked = []

    def read_file(path):
        asked.append(path)
        return "#!/bin/sh\n"

    text = small(engine="engine: {kind: script, path: ../own.sh}")
    engine = spec.load(text, "some/where/c.yaml", read_file=read_file).spec.engine
    assert engine == EngineSpec(kind="script", version="", path="some/own.sh", script_text="#!/bin/sh\n")
    text = small(engine='engine: {kind: script, version: "0.9.1", path: /abs/own.sh}')
    engine = spec.load(text, "some/where/c.yaml", read_file=read_file).spec.engine
    assert (engine.version, engine.path) == ("0.9.1", "/abs/own.sh")
    assert asked == ["some/own.sh", "/abs/own.sh"]


def not_text(path):
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_overlap_is_refused_where_the_script_decides(problems, small):
    engine, roles = (
        "engine: {kind: script, path: own.sh}",
        'roles: {serve: {nodes: "n[1-2]", dp: 2, dbo: true}}',
    )
    (problem,) = problems(small(engine=engine, roles=roles), lambda _: "exec vllm serve m")
    assert (problem.key, problem.warning) == ("roles.serve.dbo", False)
    assert "the script itself" in problem.text


def test_a_script_that_is_not_text_is_refused_where_it_is_named(problems, small):
    (problem,) = problems(small(engine="engine: {kind: script, path: own.sh}"), not_text)
    assert (problem.key, problem.line, problem.column) == ("engine.path", 2, 30)
    assert "UTF-8" in problem.text


def test_the_error_counts_what_is_wrong_and_keeps_the_warnings(load, small):
    text = small(roles="roles: {serve: {nodes: n1}}", ports="ports: {http: 0}", model="model: ['']")
    with pytest.raises(SpecError) as error:
        load(text)
    assert "2 problems" in error.value.text
    assert [problem.warning for problem in error.value.problems] == [False, True, False]
    assert error.value.problems[0].source_line == "model: ['']"


def test_warnings_do_not_stop(load, small):
    loaded = load(small(roles="roles: {serve: {nodes: n1}}"))
    assert [(problem.key, problem.warning) for problem in loaded.warnings] == [("nodes[1]", True)]
    assert loaded.spec.name == "c"


PLACES = """\
cluster: c
engine: {kind: rehearsal}
model: m
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]", env: {A: 1}}
defaults:
  args: {max_model_len: 5, compilation-config.mode: x}
  env: {B: 1}
roles:
  serve: {nodes: "n[1-2]", dp: 2, args: {seed: 1}}
overrides: {"serve-[0-1]": {env: {C: 1}}, "node:n[1-2]": {args: {d: 1}}}
"""


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("roles.serve.dp", (10, 32)),
        ("roles.serve.tp", (10, 3)),
        ("roles.serve.args.seed", (10, 48)),
        ("roles.serve.args.max-model-len", (7, 25)),
        ("roles.serve.args.compilation-config.mode", (7, 53)),
        ("roles.serve.args.other", (10, 35)),
        ("roles.serve.env.B", (8, 12)),
        ("roles.serve.env.X", (10, 3)),
        ("nodes.n2.env.A", (5, 54)),
        ("nodes.n2.env.B", (8, 12)),
        ("nodes.n9", (4, 1)),
        ("nodes", (5, 3)),
        ("overrides.serve-1.env.C", (11, 38)),
        ("overrides.node:n2.args.d", (11, 69)),
        ("router.port", (1, 1)),
        ("engine.version", (2, 1)),
        ("", (1, 1)),
    ],
)
def test_a_problem_of_another_room_is_placed_by_its_key(load, key, place):
    problem = Problem("wrong", key=key, hint="mend it", warning=True)
    (found,) = load(PLACES, check=lambda _: [problem]).warnings
    assert (found.line, found.column) == place
    assert (found.file, found.text, found.hint, found.key, found.warning) == (
        "c.yaml",
        "wrong",
        "mend it",
        key,
        True,
    )
    assert found.source_line == PLACES.split("\n")[place[0] - 1]


def gone(path):
    raise FileNotFoundError(2, "No such file or directory", path)


def nested(value):
    """Values that a cluster file may hold by mistake."""
    return st.one_of(
        value,
        st.lists(value, max_size=2),
        st.dictionaries(st.sampled_from(["name", "env", "args", "dp", "from_env", "x"]), value, max_size=2),
    )


WRONG = nested(
    st.sampled_from([None, True, -1, 0, 3, 0.5, 70000, "", "x", "n[1-", "n[1-2]", "n1", "$X", "0s"])
)


def parts(data, path=()):
    """Every key path of parsed YAML."""
    for key, item in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from parts(item, (*path, key))


REFERENCE = yaml.safe_load(reference())
PATHS = sorted(parts(REFERENCE), key=str)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(["put", "drop", "add"]), WRONG), max_size=4)
)
def test_whatever_is_wrong_is_reported_with_a_place_and_nothing_else_happens(problems, changes):
    data = copy.deepcopy(REFERENCE)
    for path, how, value in changes:
        section = data
        for part in path[:-1]:
            inside = (
                part in section
                if isinstance(section, dict)
                else isinstance(part, int) and part < len(section)
            )
            section = section[part] if inside else {}
            section = section if isinstance(section, dict | list) else {}
        if isinstance(section, list) and not (isinstance(path[-1], int) and path[-1] < len(section)):
            continue
        if how == "put":
            section[path[-1]] = value
        elif isinstance(section, dict):
            section.pop(path[-1], None)
            section |= {"strange": value} if how == "add" else {}
    text = yaml.safe_dump(data, sort_keys=False)
    assert all(problem.line and problem.text for problem in problems(text, gone))


CLUSTERS = sorted(Path(__file__).parents[2].glob("clusters/*.yaml"))


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_no_shipped_example_has_a_problem(path):
    loaded = spec.load(path.read_text(), str(path), read_file=lambda name: Path(name).read_text())
    assert loaded.warnings == ()


MISSPELT = {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, env: {A-B: 1}, args: {--seed: 1}}}'}


def test_mistakes_in_env_and_args_do_not_hide_those_that_another_room_finds(problems, small):
    wrong = Problem("wrong", key="roles.serve.tp")
    found = problems(small(**MISSPELT), check=lambda _: [wrong])
    assert [problem.key for problem in found] == [
        "roles.serve.tp",
        "roles.serve.env.A-B",
        "roles.serve.args.--seed",
    ]


def test_another_room_is_not_asked_about_what_is_broken(problems, small):
    roles = 'roles: {serve: {nodes: "n[1-2]", dp: two}}'
    assert len(problems(small(roles=roles), check=lambda _: [Problem("wrong", key="roles.serve.tp")])) == 1
