"""The model's folder on every node: the program that reads it, and the findings about it."""

import json
import struct
from pathlib import Path

import pytest
from probing import bad, commands, findings, run, targets
from specs import GPU, cluster, serve

from dplaunch.model.check import Command, Level, Output
from dplaunch.model.cluster import RouterSpec, WeightsSpec
from dplaunch.probes.hosts import make_weights_probe
from dplaunch.probes.weights import parse_report
from dplaunch.probes.weights_script import SCRIPT

CAPTURES = Path(__file__).parent / "captures" / "weights"
PLACE = "/data/model"
PROBE = make_weights_probe()
WHOLE = (CAPTURES / "deepseek_whole.txt").read_text()


def read(name: str) -> str:
    return (CAPTURES / f"{name}.txt").read_text(errors="replace")


def three(path=PLACE, **changes):
    role = serve(nodes=("n1", "n2", "n3"), tp=16, groups=3, **changes.pop("role", {}))
    return targets(cluster(role, weights=WeightsSpec(path=path), **changes))


def judged(*texts: str | Output, **changes):
    outputs = {f"n{i}": {"weights": text} for i, text in enumerate(texts, 1)}
    return findings(PROBE, three(**changes), outputs)


def test_the_same_whole_model_everywhere(worded):
    worded("weights-good", judged(WHOLE, WHOLE, WHOLE))


FAULTY = (
    "no_folder",
    "not_allowed",
    "no_config",
    "config_not_json",
    "index_not_json",
    "two_shards_missing",
    "shard_missing_no_index",
    "shard_cut_off",
    "shard_is_a_web_page",
    "no_weights",
)


def test_one_broken_node_is_one_finding(worded):
    found = [bad(judged(WHOLE, read(capture), WHOLE)) for capture in FAULTY]
    assert {len(lines) for lines in found} == {1}
    worded("weights-broken", (f"{capture}: {lines[0]}" for capture, lines in zip(FAULTY, found, strict=True)))


def changed(**files):
    """The whole model's report with other sizes; None takes a file away."""
    found = json.loads(WHOLE)
    sizes = {**dict(found["files"]), **{name.replace("__", "."): size for name, size in files.items()}}
    found["files"] = [[name, size] for name, size in sorted(sizes.items()) if size is not None]
    return json.dumps({**found, "count": len(found["files"]), "digest": "other"})


DIFFERENT = ({"tokenizer__json": 9}, {"tokenizer__json": None}, {"added__py": 5, "tokenizer__json": 9}, {})


def test_the_first_file_that_differs_is_named(worded):
    found = [bad(judged(WHOLE, WHOLE, changed(**files))) for files in DIFFERENT]
    assert {len(lines) for lines in found} == {1}
    worded("weights-different", (line for [line] in found))


def test_the_same_size_and_other_contents(worded):
    whole = read("deepseek_sha256")
    other = whole.replace('3108,"c342d002db4ed710"', '3108,"0000000000000000"', 1).replace(
        "eef27c93", "00000000"
    )
    worded("weights-of-other-contents", bad(judged(whole, other, whole)))


def test_what_cannot_be_read_is_a_warning():
    for capture in ("cut_off", "traceback", "binary"):
        [line] = bad(judged(WHOLE, read(capture), WHOLE))
        assert line.startswith("warn n2: could not be read: weights: printed ")


def test_the_weights_of_a_model_by_name_are_not_checked(worded):
    worded("weights-of-a-name", judged(path=None))
    assert all(not commands(PROBE, target) for target in three(path=None))


def test_dummy_weights_are_not_a_fault():
    assert bad(judged(read("no_weights"), role={"args": {"load-format": "dummy"}})) == []


@pytest.mark.parametrize(
    ("kind", "version", "level"),
    [
        ("vllm-ascend", "0.23.0", "fail"),
        ("vllm", "0.18.1", "warn"),
        ("vllm-ascend", "0.13.0", "fail"),
        ("vllm-ascend", "0.11.0", "warn"),
    ],
)
def test_a_dense_model_with_external_load_balancing(kind, version, level, worded):
    role = serve(nodes=("n1", "n2"), dp=2, tp=8)
    here = targets(cluster(role, kind=kind, version=version, weights=WeightsSpec(path=PLACE), hardware=GPU))
    dense = {"n1": {"weights": read("dense_qwen3")}, "n2": {"weights": read("dense_qwen3")}}
    found = bad(findings(PROBE, here, dense))
    assert [line.split()[0] for line in found] == [level]
    worded(f"weights-dense-{kind}-{version}", found)
    for capture in ("mixtral", "experts_as_list", "experts_in_text_config"):
        assert bad(findings(PROBE, here, {"n1": {"weights": read(capture)}})) == []
    [broken] = bad(findings(PROBE, here, {"n1": {"weights": read("no_config")}}))
    assert "config.json is missing" in broken


def test_dense_engines_side_by_side_are_fine():
    assert bad(judged(*[read("dense_qwen3")] * 3)) == []


def test_commands_go_to_nodes_with_engines_only():
    [one, *_] = three()
    [command] = commands(PROBE, one).values()
    assert command.argv == ("python3", "-c", SCRIPT, PLACE, "size")
    [command] = commands(make_weights_probe("sha256"), one).values()
    assert (command.argv[-1], command.timeout) == ("sha256", 3600.0)
    router_only = cluster(serve(nodes=("n2",)), router=RouterSpec(node="n1"), weights=WeightsSpec(path=PLACE))
    assert [len(commands(PROBE, target)) for target in targets(router_only)] == [0, 1]
    asked = cluster(serve(), weights=WeightsSpec(path=PLACE, check="sha256"))
    [command] = commands(PROBE, targets(asked)[0]).values()
    assert command.argv[-1] == "sha256"


def test_a_rehearsal_has_weights_only_on_purpose():
    def asked(spec, **how):
        return len(commands(PROBE, targets(spec, **how)[0]))

    own = WeightsSpec(path=PLACE)
    assert asked(cluster(serve(), weights=own), rehearse=True) == 0
    assert asked(cluster(serve(), kind="rehearsal", model=PLACE, weights=own)) == 0
    assert asked(cluster(serve(), kind="rehearsal", weights=own)) == 1


# the program, on this machine
def safetensors(path: Path, size: int) -> None:
    header = json.dumps(
        {"__metadata__": {}, "w": {"dtype": "I8", "shape": [size], "data_offsets": [0, size]}}
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0" * size)


@pytest.fixture
def model(tmp_path):
    """A model of two shards."""
    (tmp_path / "config.json").write_text('{"num_experts": 64}')
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name in shards:
        safetensors(tmp_path / name, 1000)
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / ".msc").write_text("hidden")
    return tmp_path


def seen(path, way="size"):
    output = run(Command(key="weights", argv=("python3", "-c", SCRIPT, str(path), way), timeout=30))
    assert (output.code, output.err) == (0, "")
    return parse_report(output.out)


def test_the_program_reads_a_good_folder(model):
    facts = seen(model)
    assert (facts["count"], facts["experts"], facts["config"], facts["missing"], facts["broken"]) == (
        4,
        64,
        "",
        [],
        [],
    )
    assert facts == seen(model)


def test_the_program_reads_what_decides_how_a_model_is_split(model):
    config = {
        "model_type": "wrapper",
        "max_position_embeddings": 4096,
        "text_config": {
            "num_attention_heads": 64,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "deep": {}},
        },
        "quantization_config": {
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
            "ignored": ["x"] * 99,
        },
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.B", null]}}')
    (model / "quant_model_description.json").touch()
    assert seen(model)["model"] == {
        "model_type": "wrapper",
        "num_attention_heads": 64,
        "max_position_embeddings": 4096,
        "rope_scaling": {"type": "yarn", "factor": 4.0},
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        "modelslim": True,
        "own_tokenizer": True,
    }
    (model / "tokenizer.json").touch()
    (model / "config.json").write_text('{"num_attention_heads": {}, "text_config": 3}')
    assert seen(model)["model"] == {"num_attention_heads": {}, "modelslim": True, "own_tokenizer": False}


def test_a_model_that_does_not_allow_the_sizes_is_one_finding(worded):
    report = json.loads(WHOLE)
    report["model"] = {"num_attention_heads": 56, "num_hidden_layers": 8}
    worded("weights-of-another-shape", bad(judged(*[json.dumps(report)] * 3)))


def test_the_program_compares_contents_on_request(model):
    before = seen(model), seen(model, "sha256")
    shard = model / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    after = seen(model), seen(model, "sha256")
    assert after[0] == before[0]
    assert after[1]["digest"] != before[1]["digest"]
    # a fingerprint of either way is compared with either: what one lacks is no change
    assert after[1]["listing"] == before[0]["listing"]
    assert after[1]["contents"] != before[1]["contents"]
    assert "contents" not in before[0]
    differing = [row[0] for row, old in zip(after[1]["files"], before[1]["files"], strict=True) if row != old]
    assert differing == [shard.name]


def test_the_program_survives_what_it_may_find(model):
    (model / "model-00001-of-00002.safetensors").unlink()
    (model / "model-00001-of-00002.safetensors").symlink_to(model / "gone")
    (model / "model-00002-of-00002.safetensors").write_bytes(struct.pack("<Q", 1 << 60))
    (model / "odd\udcff.safetensors").write_bytes(b"")
    (model / "config.json").write_text("[1]")
    facts = seen(model)
    assert facts["missing"] == ["model-00001-of-00002.safetensors"]
    assert sorted(row[0][:3] for row in facts["broken"]) == ["mod", "odd"]
    assert facts["config"] == "unreadable"


def test_the_programs_report_stays_short(tmp_path):
    for i in range(500):
        (tmp_path / f"{'long-' * 30}{i:05d}.bin").touch()
    (tmp_path / "config.json").write_text("{}")
    output = run(Command(key="weights", argv=("python3", "-c", SCRIPT, str(tmp_path), "size"), timeout=30))
    assert len(output.out) < 64 << 10
    assert parse_report(output.out)["count"] == 501


def test_one_file_is_a_model_too(model):
    facts = seen(model / "config.json")
    assert (facts["folder"], facts["count"], facts["bytes"]) == (False, 1, 19)
    assert "does not exist" in seen(model / "nowhere")["problem"]


def test_the_contents_of_a_single_file_are_compared_on_request(tmp_path):
    found = []
    for letter in "ab":
        (tmp_path / "model.gguf").write_text(letter * 100)
        found.append((seen(tmp_path / "model.gguf"), seen(tmp_path / "model.gguf", "sha256")))
    (size, whole), (other_size, other) = found
    assert size == other_size
    assert whole["contents"] != other["contents"]
    differing = PROBE.judge(three()[:2], {"n1": whole, "n2": other})
    [text] = {f.text for f in differing if f.level is Level.FAIL}
    assert "the model's file" in text
