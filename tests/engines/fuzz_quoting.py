"""Any text in any field of a cluster file: refused, or handed to the engine as it is, and never run by a shell."""

import copy
import json

import pytest
import yaml
from dice import TEXTS

from dplaunch import plan, spec
from dplaunch.errors import SpecError

WORD = "Word7"
"""Stands in each field in turn: where it appears, the text must appear."""
FILE = {
    "cluster": "c",
    "model": "m",
    "served_model_name": "s",
    "nodes": [{"name": "n1", "host": "192.0.2.1", "nic": "eth0"}, {"name": "n2", "host": "192.0.2.2"}],
    "runtime": {"python": "python3", "setup": ["true"]},
    "roles": {"prefill": {"nodes": "n1"}, "decode": {"nodes": "n2"}},
    "router": {"node": "n1", "port": 8000},
    "hardware": {"devices": 1},
}
ENGINES = {
    "vllm": {"engine": {"kind": "vllm", "version": "0.23.0"}, "kv_transfer": {"connector": "NixlConnector"}},
    "vllm-ascend": {
        "engine": {"kind": "vllm-ascend", "version": "0.23.0"},
        "kv_transfer": {"connector": "MooncakeConnectorV1"},
    },
}
FIELDS = (
    *("cluster", "model", "served_model_name", "served_model_name.0", "nodes.0.name", "nodes.0.host", "nodes.0.nic"),
    *("nodes.0.address", "nodes.0.env.X", "nodes.0.ssh.user", "nodes.0.ssh.key", "nodes.0.ssh.jump", "ssh.user"),
    *("engine.version", "engine.path", "runtime.engine", "runtime.python", "weights.path", "weights.check"),
    *("defaults.env.X", "roles.prefill.env.X", "overrides.prefill-0.env.X", "roles.prefill.master", "hardware.name"),
    *("defaults.args.chat-template", "roles.prefill.args.chat-template", "overrides.prefill-0.args.tokenizer"),
    *("defaults.args.hf-overrides.k", "defaults.args.lora-modules.0", "kv_transfer.extra_config.k", "router.policy"),
    *("kv_transfer.connector", "kv_transfer.rank_table", "api_key.from_env", "defaults.env.{}", "defaults.args.{}"),
)  # fmt: skip


def put(document, field, text):
    """The document with the text in a field; ``{}`` in the field's path is the text itself, as a name."""
    document = copy.deepcopy(document)
    *above, last = [text if key == "{}" else int(key) if key.isdigit() else key for key in field.split(".")]
    place = document
    for key, below in zip(above, [*above, last][1:], strict=True):
        if isinstance(key, str) and not isinstance(place.get(key), dict | list):
            place[key] = [] if isinstance(below, int) else {}
        place = place[key]
    if isinstance(place, list) and last == len(place):
        place.append(text)
    else:
        place[last] = "v" if "{}" in field else text
    return document


def start(stage, document):
    """Argv and environment of each engine as its script starts it. Raises SpecError where the file is refused."""
    text = yaml.safe_dump(document, allow_unicode=True)
    loaded = spec.load(text, "c.yaml", read_file=lambda _: "", check=plan.check)
    planned = plan.build(loaded.spec, checked=loaded.warnings)
    found = []
    for node in planned.nodes:
        stage.put(node)
        for process in (one for one in node.processes if one.kind == "engine"):
            ran = stage.run(process)
            assert ran.code == 0, ran.err
            found.append((ran.argv, ran.env))
    return found


def flatten(words):
    """Words; of those that are JSON the texts within."""
    for word in words:
        yield from unfold(word) if word[:1] in {"{", "["} else [word]


def unfold(word):
    try:
        return texts(json.loads(word))
    except ValueError:
        return [word]


def texts(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def shown(found, text):
    """How often a text is a word, an environment variable, or part of their JSON."""
    return [sum(text in one for one in (*flatten(argv), *env.values(), *env.keys())) for argv, env in found]


def count(argv):
    """Words; a value that begins with a dash is one word with its flag."""
    return sum(2 if "=-" in word and word.startswith("--") else 1 for word in argv)


@pytest.mark.parametrize("kind", ENGINES)
def test_any_text_in_any_field_is_refused_or_reaches_the_engine_as_it_is(stage, dice, rounds, kind, tmp_path):
    base = {**FILE, **ENGINES[kind]}
    for _ in range(rounds):
        field, text = dice.choice(FIELDS), dice.choice(TEXTS)
        what = f"{field}: {text[:60]!r}"
        try:
            word, found = start(stage, put(base, field, WORD)), start(stage, put(base, field, text))
        except SpecError:
            continue
        finally:
            left = list(tmp_path.rglob("canary*"))
            assert not left, f"{what} ran: {left}"
        if "${" not in text and text.strip():
            missing = [a > b for a, b in zip(shown(word, WORD), shown(found, text), strict=True)]
            assert not any(missing), f"{what} was changed on its way"
        assert [count(argv) for argv, _ in word] == [count(argv) for argv, _ in found], (
            f"{what} became other words"
        )
