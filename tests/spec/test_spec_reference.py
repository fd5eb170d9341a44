"""Schema, reference and explain say the same."""

import json
import re

import pytest
import yaml

from dplaunch import spec
from dplaunch.errors import ExitCode, UsageError
from dplaunch.model.cluster import ClusterSpec, PortBases
from dplaunch.spec.explain import explain
from dplaunch.spec.jsonschema import Site, bare_schema, find, json_schema, properties, required
from dplaunch.spec.reference import entries, reference
from dplaunch.spec.values import PRESETS


@pytest.fixture(scope="module")
def schema():
    return bare_schema()


def unread(path):
    raise AssertionError(path)


def test_the_reference_is_a_good_cluster_file():
    loaded = spec.load(reference(), "reference.yaml", read_file=unread)
    assert isinstance(loaded.spec, ClusterSpec)
    assert loaded.warnings == ()


def test_every_key_of_the_schema_is_documented_and_every_documented_key_is_in_the_schema(schema):
    documented = {find(schema, entry.path) for entry in entries() if entry.comment}
    assert documented == set(properties(schema))
    assert not [entry.path for entry in entries() if find(schema, entry.path) is None]


def test_a_key_that_is_switched_off_is_one_of_the_schema(schema):
    off = [entry for entry in entries() if any(line.startswith("#" + entry.path[-1]) for line in entry.lines)]
    assert [".".join(entry.path) for entry in off] == [
        "engine.path",
        "roles.serve",
        "kv_transfer.rank_table",
        "router.path",
    ]
    assert all(find(schema, entry.path).key == entry.path[-1] for entry in off)


def test_switched_on_the_reference_is_still_yaml():
    on = re.sub(r"^( *)#(?=[a-z_]+:)", r"\1", reference(), flags=re.MULTILINE)
    assert yaml.safe_load(on)["roles"].keys() == {"prefill", "decode", "serve"}


def test_the_schema_is_for_editors():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "dplaunch cluster file"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["cluster", "engine", "model", "nodes", "roles"]
    assert all(value.get("description") for value in properties(schema).values())
    assert schema["properties"]["ready_timeout"] == {
        "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}],
        "default": 2400.0,
        "description": "How long up waits until everything serves: seconds, or 1h30m, 40m, 90s.",
    }
    assert schema["properties"]["hardware"]["anyOf"] == [
        {"enum": list(PRESETS)},
        {"$ref": "#/$defs/Hardware"},
    ]
    role = schema["$defs"]["Role"]["properties"]
    assert role["dp"] == {
        "type": "integer",
        "minimum": 1,
        "default": 1,
        "description": "Data-parallel size of one group: its ranks are spread evenly over its nodes.",
    }
    assert role["master"]["anyOf"][0] == {"type": "string"}
    assert schema["$defs"]["Ssh"]["properties"]["port"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "description": "TCP port of sshd.",
    }
    assert "title" not in role["dp"]
    assert '"null"' not in json.dumps(schema)


def test_the_defaults_in_the_comments_are_the_real_ones():
    comments = {entry.path: entry.comment for entry in entries()}
    for name in ("http", "rpc", "kv"):
        assert comments[("ports", name)].endswith(f"Default: {getattr(PortBases(), name)}.")
    assert all(name in comments[("hardware",)] for name in PRESETS)


def test_a_comment_of_two_lines_is_one_sentence():
    comments = {entry.path: entry.comment for entry in entries()}
    assert comments[("hardware",)] == (
        "What each node holds: atlas-800t-a3, atlas-800i-a3 (16 devices), atlas-800t-a2, atlas-800i-a2 "
        "(8 devices), gpu-8 or cpu, or this map. Required for vllm-ascend and vllm."
    )
    assert comments[("cluster",)] == "Name of the deployment. State on the nodes is kept under it."


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("roles.decode.dp", Site("Role", "dp")),
        ("roles.*.dp", Site("Role", "dp")),
        ("roles.*", Site("dplaunch cluster file", "roles")),
        ("nodes.ssh.port", Site("Ssh", "port")),
        ("nodes.0.ssh.port", Site("Ssh", "port")),
        ("nodes.*.ssh.port", Site("Ssh", "port")),
        ("nodes", Site("dplaunch cluster file", "nodes")),
        ("overrides.decode-3.env", Site("EnvAndArgs", "env")),
        ("overrides.*.args", Site("EnvAndArgs", "args")),
        ("defaults.env.HOME", Site("EnvAndArgs", "env")),
        ("defaults.args.seed", Site("EnvAndArgs", "args")),
        ("hardware.devices", Site("Hardware", "devices")),
        ("roles.other.dp", None),
        ("nodes.dp", None),
        ("x", None),
        ("cluster.x", None),
    ],
)
def test_a_path_leads_to_a_key(schema, path, site):
    assert find(schema, tuple(path.split("."))) == site


def test_required_is_per_section(schema):
    assert required(schema, Site("Role", "nodes"))
    assert not required(schema, Site("Role", "dp"))
    assert not required(schema, Site("Router", "node"))


DP = """\
roles.prefill.dp: a whole number, at least 1; default 1

# Data-parallel size of one group: its ranks are spread evenly over its nodes.
dp: 2
"""
PORTS = """\
ports: keys: http, rpc, kv

# First TCP ports to hand out on each node.
ports:
  # Engines: one port each, counted over all engines of a node. Default: 9000.
  http: 9000
  # Rendezvous: one port for each group, on its master's node. Default: 13395.
  rpc: 13395
  # KV transfer: one port for each device of a group. Default: 61000.
  kv: 61000
"""
PATHS = """\
engine.path: text

# kind script: your script, relative to this file's folder.
#path: run_dp_template.sh

router.path: text

# kind vllm-ascend: where its proxy script is on the node.
#path: /opt/load_balance_proxy_server_example.py

weights.path: text

# The model's folder, absolute. Default: model where that is a path; else they are not looked at.
path: /data/DeepSeek-R1-W8A8
"""
PORT = """\
ssh.port: a whole number, at least 1, at most 65535

# TCP port of sshd.
port: 22
"""
OVERRIDE = """\
overrides.decode-3.args: keys with values

# Flags of these engines.
args:
  max-num-seqs: 14
"""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("dp", DP),
        ("roles.decode.dp", DP),
        ("roles.*.dp", DP),
        ("ports", PORTS),
        ("path", PATHS),
        ("nodes[0].ssh.port", PORT),
        ("nodes[].ssh.port", PORT),
        ("overrides.*.args", OVERRIDE),
    ],
)
def test_explain_shows_the_part_of_the_reference(key, text):
    assert explain(key) == text


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("cluster", "cluster: text; required"),
        ("nodes", "nodes: a list of keys: name, host, address, nic, devices, ssh, env, args; required"),
        ("nodes.name", "nodes.name: text; required"),
        ("serve", "roles.serve: keys: nodes, groups, dp, tp, pp, pcp, dcp, ep, master, env, args, ports"),
        ("api_key", "api_key: {from_env: …} or {from_file: …}"),
        ("ready_timeout", "ready_timeout: a number above 0 or text; default 2400"),
        ("ep", "roles.prefill.ep: true or false or a whole number, at least 1; default false"),
        ("host_keys", "ssh.host_keys: one of strict, accept-new; default strict"),
        ("roles.decode.nodes", "roles.prefill.nodes: text or a list of text; required"),
        ("setup", "runtime.setup: a list of text"),
        ("hardware.devices", "hardware.devices: a whole number, at least 0; required"),
    ],
)
def test_explain_begins_with_kind_and_default(key, first):
    assert explain(key).split("\n")[0] == first


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("dpp", "did you mean 'dp'?"),
        ("roles.decode.dpp", "did you mean 'roles.decode.dp'?"),
        ("host.ports", "did you mean 'ports'?"),
        (
            "zzz",
            (
                "sections are: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, "
                "roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout"
            ),
        ),
    ],
)
def test_explain_of_no_key_helps(key, hint):
    with pytest.raises(UsageError) as error:
        explain(key)
    assert error.value.text == f"the cluster file has no key '{key}'"
    assert error.value.hint == hint
    assert error.value.exit_code == ExitCode.USAGE
