"""The model's folder on every node: the program that looks at it, and what is said of it."""

import json
import struct
from pathlib import Path

import pytest
from probing import bad, commands, findings, run, targets
from specs import GPU, cluster, serve

from dplaunch.model.check import Command, Level, Output
from dplaunch.model.cluster import RouterSpec, WeightsSpec
from dplaunch.probes.hosts import weights
from dplaunch.probes.weights import report
from dplaunch.probes.weights_script import SCRIPT

CAPTURES = Path(__file__).parent / "captures" / "weights"
PLACE = "/data/model"
PROBE = weights()
WHOLE = (CAPTURES / "deepseek_whole.txt").read_text()


def read(name: str) -> str:
    return (CAPTURES / f"{name}.txt").read_text(errors="replace")


def three(path=PLACE, **changes):
    role = serve(nodes=("n1", "n2", "n3"), tp=16, groups=3, **changes.pop("role", {}))
    return targets(cluster(role, weights=WeightsSpec(path=path), **changes))


def judged(*texts: str | Output, **changes):
    said = {f"n{i}": {"weights": text} for i, text in enumerate(texts, 1)}
    return findings(PROBE, three(**changes), said)


def test_the_same_whole_model_everywhere():
    assert judged(WHOLE, WHOLE, WHOLE) == [f"ok n{i}: 13 files, 25 KiB, f6dc908d39826c2a" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("capture", "text"),
    [
        ("no_folder", "there is no /data/nothing/here"),
        ("not_allowed", "/data/model cannot be read: Permission denied"),
        ("no_config", "/data/model: config.json is missing"),
        ("config_not_json", "/data/model: config.json is unreadable"),
        ("index_not_json", "/data/model: model.safetensors.index.json cannot be read"),
        (
            "two_shards_missing",
            "/data/model: 2 files missing: model-00004-of-00008.safetensors, model-00007-of-00008.safetensors",
        ),
        ("shard_missing_no_index", "/data/model: 1 file missing: model-00003-of-00003.safetensors"),
        ("shard_cut_off", "/data/model: model-00005-of-00008.safetensors has 2408 bytes of 3108"),
        ("shard_is_a_web_page", "/data/model: model-00002-of-00004.safetensors is no safetensors file"),
        ("no_weights", "/data/model: no weights in it: no file of .safetensors, .bin, .pt, .pth, .gguf"),
    ],
)
def test_one_broken_node_is_one_finding(capture, text):
    assert bad(judged(WHOLE, read(capture), WHOLE)) == [f"fail n2: {text}"]


def changed(**files):
    """The whole model's report with other sizes; None takes a file away."""
    found = json.loads(WHOLE)
    sizes = {**dict(found["files"]), **{name.replace("__", "."): size for name, size in files.items()}}
    found["files"] = [[name, size] for name, size in sorted(sizes.items()) if size is not None]
    return json.dumps({**found, "count": len(found["files"]), "digest": "other"})


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"tokenizer__json": 9}, "tokenizer.json has 9 bytes, on the other nodes 2"),
        ({"tokenizer__json": None}, "tokenizer.json is missing, the other nodes have it"),
        ({"added__py": 5, "tokenizer__json": 9}, "added.py is here, and not on the other nodes"),
        ({}, "not the same files as on the other nodes: 13, there 13"),
    ],
)
def test_the_first_file_that_differs_is_named(files, text):
    assert bad(judged(WHOLE, WHOLE, changed(**files))) == [f"fail n3: {text}"]


def test_the_same_size_and_something_else_in_it():
    whole = read("deepseek_sha256")
    other = whole.replace('3108,"c342d002db4ed710"', '3108,"0000000000000000"', 1).replace(
        "eef27c93", "00000000"
    )
    assert bad(judged(whole, other, whole)) == [
        "fail n2: model-00001-of-00008.safetensors differs from the other nodes' in what it holds (sha256)"
    ]


def test_what_cannot_be_read_is_a_warning():
    for capture in ("cut_off", "traceback", "binary"):
        [line] = bad(judged(WHOLE, read(capture), WHOLE))
        assert line.startswith("warn n2: could not be read: weights: printed ")


def test_a_model_by_name_is_not_looked_at():
    assert judged(path=None) == [
        "n/a : some/model is a name: where engines find its weights is up to them",
    ]
    assert all(not commands(PROBE, target) for target in three(path=None))


def test_dummy_weights_are_no_fault():
    assert bad(judged(read("no_weights"), role={"args": {"load-format": "dummy"}})) == []


@pytest.mark.parametrize(
    ("kind", "version", "lines"),
    [
        (
            "vllm-ascend",
            "0.23.0",
            [
                (
                    'fail : the model is dense, and serve has dp above 1: vLLM 0.23.0 refuses it: "Non-MoE models do not '
                    'support external data parallel mode…"'
                )
            ],
        ),
        (
            "vllm",
            "0.18.1",
            [
                (
                    "warn : the model is dense, and serve has dp above 1: in vLLM 0.18.1 every rank then runs alone, "
                    "as with dp: 1"
                )
            ],
        ),
        (
            "vllm-ascend",
            "0.13.0",
            [
                (
                    "fail : the model is dense, and serve has dp above 1: vLLM 0.13.0 ends on a bare AssertionError "
                    "after loading (vllm#32252)"
                )
            ],
        ),
        (
            "vllm-ascend",
            "0.11.0",
            [
                (
                    "warn : the model is dense, and serve has dp above 1: in vLLM 0.11.0 every rank then runs alone, "
                    "as with dp: 1"
                )
            ],
        ),
    ],
)
def test_a_dense_model_with_external_load_balancing(kind, version, lines):
    role = serve(nodes=("n1", "n2"), dp=2, tp=8)
    here = targets(cluster(role, kind=kind, version=version, weights=WeightsSpec(path=PLACE), hardware=GPU))
    dense = {"n1": {"weights": read("dense_qwen3")}, "n2": {"weights": read("dense_qwen3")}}
    assert bad(findings(PROBE, here, dense)) == lines
    for capture in ("mixtral", "experts_as_list", "experts_in_text_config"):
        assert bad(findings(PROBE, here, {"n1": {"weights": read(capture)}})) == []
    assert bad(findings(PROBE, here, {"n1": {"weights": read("no_config")}})) == [
        "fail n1: /data/model: config.json is missing"
    ]


def test_dense_engines_side_by_side_are_fine():
    assert bad(judged(*[read("dense_qwen3")] * 3)) == []


def test_who_is_asked():
    [one, *_] = three()
    [command] = commands(PROBE, one).values()
    assert command.argv == ("python3", "-c", SCRIPT, PLACE, "size")
    [command] = commands(weights("sha256"), one).values()
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
    return report(output.out)


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


def test_the_program_sees_what_sizes_do_not_show_when_asked(model):
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


def test_the_programs_answer_stays_short(tmp_path):
    for i in range(500):
        (tmp_path / f"{'long-' * 30}{i:05d}.bin").touch()
    (tmp_path / "config.json").write_text("{}")
    output = run(Command(key="weights", argv=("python3", "-c", SCRIPT, str(tmp_path), "size"), timeout=30))
    assert len(output.out) < 64 << 10
    assert report(output.out)["count"] == 501


def test_one_file_is_a_model_too(model):
    facts = seen(model / "config.json")
    assert (facts["folder"], facts["count"], facts["bytes"]) == (False, 1, 19)
    assert "no" in seen(model / "nowhere")["problem"]


def test_of_one_file_too_what_it_holds_is_read_when_asked(tmp_path):
    found = []
    for letter in "ab":
        (tmp_path / "model.gguf").write_text(letter * 100)
        found.append((seen(tmp_path / "model.gguf"), seen(tmp_path / "model.gguf", "sha256")))
    (size, whole), (other_size, other) = found
    assert size == other_size
    assert whole["contents"] != other["contents"]
    differing = PROBE.judge(three()[:2], {"n1": whole, "n2": other})
    assert {f.text for f in differing if f.level is Level.FAIL} == {
        "the model's file differs from the other nodes' in what it holds (sha256)"
    }
