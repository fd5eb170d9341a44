"""Schema, reference and explain say the same."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dplaunch import spec
from dplaunch.engines import facts, kinds
from dplaunch.errors import ExitCode, UsageError
from dplaunch.model.cluster import ClusterSpec
from dplaunch.spec.explain import explain
from dplaunch.spec.jsonschema import SchemaKey, bare_schema, find, json_schema, properties, required
from dplaunch.spec.reference import entries, reference
from dplaunch.spec.values import PRESETS
from dplaunch.view.errors import render

EXPLANATIONS = Path(__file__).parent / "explanations"


@pytest.fixture(scope="module")
def schema():
    return bare_schema()


@pytest.fixture(scope="module")
def comments():
    return {entry.path: entry.comment for entry in entries()}


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
        "engine.rank_table",
        *(".".join(entry.path) for entry in entries() if entry.path[0] == "kubernetes"),
        "roles.prefill.dbo",
        "roles.prefill.dbo.decode_token_threshold",
        "roles.prefill.dbo.prefill_token_threshold",
        "roles.prefill.pods",
        "roles.prefill.path",
        "roles.serve",
        "kv_transfer.rank_table",
        "router.path",
        "services.mooncake.ready.http",
        "services.mooncake.ready.path",
        "services.mooncake.ready.line",
        "redis.url",
        "files.source",
        "files.template",
    ]
    assert all(find(schema, entry.path).key == entry.path[-1] for entry in off)


def test_switched_on_the_reference_is_still_yaml():
    on = re.sub(r"^( *)#(?=[a-z_]+:)", r"\1", reference(), flags=re.MULTILINE)
    assert yaml.safe_load(on)["roles"].keys() == {"prefill", "decode", "serve"}


def test_the_schema_is_for_editors(comments):
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
        "description": comments[("ready_timeout",)],
    }
    assert schema["properties"]["hardware"]["anyOf"] == [
        {"enum": list(PRESETS)},
        {"$ref": "#/$defs/Hardware"},
    ]
    role = schema["$defs"]["Role"]["properties"]
    assert role["dp"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65536,
        "default": 1,
        "description": comments[("roles", "prefill", "dp")],
    }
    assert role["master"]["anyOf"][0] == {"type": "string"}
    assert schema["$defs"]["Ssh"]["properties"]["port"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "description": comments[("ssh", "port")],
    }
    assert "title" not in role["dp"]
    assert '"null"' not in json.dumps(schema)


def test_the_defaults_in_the_comments_are_the_real_ones(comments):
    for kind in kinds():
        for name, port in facts(kind).ports.items():
            if ("ports", name) in comments:
                assert comments[("ports", name)].endswith(f"Default: {port}.")
            else:  # this engine's own
                assert f"{name} ({port})" in comments[("ports",)]
    assert all(name in comments[("hardware",)] for name in PRESETS)


def test_words_of_the_architecture_page_are_explained():
    for word in ("group", "seat", "plan", "revision", "stand-in", "held", "proved", "unguarded"):
        assert word in explain(word).partition(":")[0].split(", ")
    assert explain("Group") == explain("group")
    meaning, key = explain("cluster").split("\n\n", 1)
    assert meaning == "cluster: one deployment: one cluster file, one name"
    assert key.startswith("cluster: text")


def test_dashes_in_a_section_are_taken_for_underscores():
    assert explain("kv-transfer.connector") == explain("kv_transfer.connector")
    assert explain("overrides.decode-3.env").startswith("overrides.decode-3.env: ")


def test_a_comment_of_two_lines_is_one_sentence(comments):
    (entry,) = [entry for entry in entries() if entry.path == ("hardware",)]
    written = re.findall(r"^# (.*)$", "\n".join(entry.lines), re.MULTILINE)
    assert len(written) == 2
    assert comments[("hardware",)] == " ".join(written)


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("roles.decode.dp", SchemaKey("Role", "dp")),
        ("roles.*.dp", SchemaKey("Role", "dp")),
        ("roles.*", SchemaKey("dplaunch cluster file", "roles")),
        ("nodes.ssh.port", SchemaKey("Ssh", "port")),
        ("nodes.0.ssh.port", SchemaKey("Ssh", "port")),
        ("nodes.*.ssh.port", SchemaKey("Ssh", "port")),
        ("nodes", SchemaKey("dplaunch cluster file", "nodes")),
        ("overrides.decode-3.env", SchemaKey("EnvAndArgs", "env")),
        ("overrides.*.args", SchemaKey("EnvAndArgs", "args")),
        ("defaults.env.HOME", SchemaKey("EnvAndArgs", "env")),
        ("defaults.args.seed", SchemaKey("EnvAndArgs", "args")),
        ("hardware.devices", SchemaKey("Hardware", "devices")),
        ("roles.other.dp", None),
        ("nodes.dp", None),
        ("x", None),
        ("cluster.x", None),
    ],
)
def test_a_path_leads_to_a_key(schema, path, site):
    assert find(schema, tuple(path.split("."))) == site


def test_required_is_per_section(schema):
    assert required(schema, SchemaKey("Role", "nodes"))
    assert not required(schema, SchemaKey("Role", "dp"))
    assert not required(schema, SchemaKey("Router", "node"))


EXPLAINED = {
    "dp": "dp",
    "dp-of-decode": "roles.decode.dp",
    "dp-of-any-role": "roles.*.dp",
    "ports": "ports",
    "path": "path",
    "port-of-first-node": "nodes[0].ssh.port",
    "port-of-any-node": "nodes[].ssh.port",
    "override-args": "overrides.*.args",
    "cluster": "cluster",
    "nodes": "nodes",
    "node-name": "nodes.name",
    "serve": "serve",
    "api-key": "api_key",
    "ready-timeout": "ready_timeout",
    "ep": "ep",
    "host-keys": "host_keys",
    "nodes-of-decode": "roles.decode.nodes",
    "setup": "setup",
    "devices": "hardware.devices",
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explain_prints_kind_default_and_the_part_of_the_reference(expect, name):
    expect(EXPLANATIONS / f"{name}.txt", explain(EXPLAINED[name]))


UNKNOWN = {
    "unknown-dpp": "dpp",
    "unknown-dpp-of-decode": "roles.decode.dpp",
    "unknown-below-a-key": "host.ports",
    "unknown-like-nothing": "zzz",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_explain_of_an_unknown_key_helps(expect, name):
    with pytest.raises(UsageError) as error:
        explain(UNKNOWN[name])
    expect(EXPLANATIONS / f"{name}.txt", f"{render(error.value)}\n")
    assert error.value.exit_code == ExitCode.USAGE


def test_every_explanation_is_asked_for():
    assert {path.stem for path in EXPLANATIONS.iterdir()} <= EXPLAINED.keys() | UNKNOWN.keys()
