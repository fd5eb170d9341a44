import pytest
from msgspec.structs import replace
from specs import GPU, cluster, serve

from dplaunch.engines import adapter
from dplaunch.engines.script.shellwords import read
from dplaunch.model.cluster import EngineSpec
from dplaunch.render import clusters_root

GOOD = (clusters_root() / "script" / "run_dp_template.sh").read_text()

SIZED = '"kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 4}}'


def problems_of(text, version="0.23.0", **changes):
    engine = EngineSpec(kind="script", version=version, path="/x/run_dp_template.sh", script_text=text)
    written = cluster(
        serve(dp=2, tp=8), model="vllm-ascend/DeepSeek-R1-W8A8", served_model_name="deepseek_r1"
    )
    given = replace(written, engine=engine, **changes)
    return adapter("script").check(given)


def told(text, version="0.23.0", **changes):
    problems = problems_of(text, version, **changes)
    assert all(p.key == "engine.path" and p.hint and p.source for p in problems if p.warning)
    return [problem.text for problem in problems]


def one(text, *words: str, version="0.23.0"):
    (found,) = told(text, version)
    assert all(word in found for word in words), found


def ending(*options: str):
    """The good script with further options, each on a line of its own."""
    return GOOD.rstrip() + "".join(f" \\\n  {option}" for option in options) + "\n"


def number_of(text, fragment):
    return next(n for n, line in enumerate(text.split("\n"), 1) if fragment in line)


def test_the_shipped_script_is_good():
    assert told(GOOD) == []
    assert told(ending("--additional-config '{\"enable_shared_expert_dp\": true}'")) == []


def test_a_missing_backslash_makes_an_option_a_command():
    text = ending("--kv-cache-dtype auto").rstrip() + "\n  --additional-config '{\"refresh\": true}'\n"
    line = number_of(text, "--kv-cache-dtype")
    one(text, f"line {line}", "is missing", "--additional-config is run as a command of its own")


def test_a_blank_after_the_backslash_ends_the_command():
    text = GOOD.replace("--trust-remote-code \\\n", "--trust-remote-code \\ \n")
    one(text, "is followed by a blank", "--gpu-memory-utilization")


def test_lines_glued_by_a_lost_indentation_are_told():
    text = GOOD.replace("--max-num-seqs 16 \\\n  --trust", "--max-num-seqs 16\\\n--trust")
    one(text, "makes one word of both", "--trust-remote-code")


def test_options_in_a_list_of_bash_need_no_backslash():
    text = 'args=(\n  --data-parallel-size $3\n  --trust-remote-code\n)\nvllm serve m "${args[@]}"\n'
    assert not any("as a command of its own" in said for said in told(text))


def test_what_stands_in_a_here_document_is_no_shell():
    assert told(GOOD + "cat <<EOF\nit's\n--here\nEOF\n") == []


def test_a_backslash_at_the_very_end_is_told():
    one(GOOD.rstrip() + " \\\n", "no line follows")


def test_a_quote_that_stays_open_is_told_at_its_line():
    text = ending('--additional-config \'{"refresh": true}`')
    one(text, f"line {number_of(text, 'additional-config')}", "' is never closed")


def test_apostrophes_in_comments_open_nothing():
    assert told(GOOD + "# don't\nwait # it's over\n") == []


@pytest.mark.parametrize("flag", ["kv-transfer-config", "additional-config"])
def test_a_trailing_comma_is_no_json(flag):
    text = ending(f"--{flag} \\\n  '{{\"a\": 1,\n}}'")
    one(text, f"--{flag} is not JSON", f"line {number_of(text, flag)}")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ('"{\\"a\\": 1,}"', "comma after the last entry"),
        ('"{\\"a\\": $6,}"', "comma after the last entry"),
        ('"{"a": 1}"', "the shell takes the quotes within double quotes away"),
        ("{}", ""),
        ('"{\\"a\\": 1}"', ""),
        ('"{\\"a\\": $6, \\"b\\": \\"${HOST:-x}\\"}"', ""),
        ('"{\\"a\\": 1 $MORE}"', ""),
        ('"{\\"a\\": 1, $MORE}"', ""),
        ('"{$ALL}"', ""),
        ('"$ALL"', ""),
        ("'{\"a\": '$6'}'", ""),
    ],
)
def test_json_is_read_as_the_shell_leaves_it(value, hint):
    for text in (
        ending(f"--additional-config {value}"),
        f"CONFIG={value}\n" + ending('--additional-config "$CONFIG"'),
    ):
        problems = [p for p in problems_of(text) if "is not JSON" in p.text]
        assert [hint in p.hint for p in problems] == [True] * bool(hint), text


def test_switches_of_other_versions_are_told_with_their_line():
    text = GOOD.replace("export OMP", "export HCCL_BUFFER_SIZE=1024 VLLM_ASCEND_ENABLE_DBO=1\nexport OMP", 1)
    first, second = told(text)
    number = number_of(text, "HCCL_BUFFER_SIZE")
    assert first.startswith(f"run_dp_template.sh line {number}: HCCL_BUFFER_SIZE does nothing")
    assert second.startswith(f"run_dp_template.sh line {number}: VLLM_ASCEND_ENABLE_DBO does nothing")
    assert told(text.replace("HCCL_BUFFER_SIZE", "HCCL_BUFFSIZE"), "0.10.2rc1") == []
    one(ending("--disable-log-requests"), "--disable-log-requests is refused by vllm-ascend 0.23.0")
    one(
        GOOD + "export VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED=1\n",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED does nothing",
    )


def test_misspelt_variables_are_found_unless_the_script_uses_them_itself():
    one(GOOD + "export HCCL_BUFSIZE=1\n", "HCCL_BUFSIZE, which is nearly HCCL_BUFFSIZE")
    assert told(GOOD + "HCCL_BUFSIZE=1\nexport HCCL_BUFFSIZE=$HCCL_BUFSIZE\n") == []


def test_a_script_without_a_version_is_judged_by_its_shape_alone():
    text = GOOD + "export HCCL_BUFFER_SIZE=1\n"
    assert told(text, "") == []
    assert len(told(text.rstrip() + " \\\n", "")) == 1


def test_on_gpus_only_vllm_is_asked():
    text = ending("--disable-log-requests") + "export HCCL_BUFFER_SIZE=1\n"
    (found,) = told(text, hardware=GPU)
    assert "is refused by vllm 0.23.0" in found


def test_keys_and_methods_inside_json_are_told():
    one(
        ending("--additional-config '{\"enable_weight_nz_layout\": true}'"),
        "enable_weight_nz_layout is silently ignored",
    )
    text = GOOD.replace('"method": "mtp"', '"method": "deepseek_mtp"')
    one(text, "deepseek_mtp is the spelling of 0.9.1")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (f'{{"kv_connector": "MooncakeConnectorV1", "kv_port": "61000", {SIZED}}}', ()),
        (
            f'{{"kv_connector": "MooncakeConnectorV1", "kv_port": "20001", {SIZED}}}',
            ("20001", "binds random ports"),
        ),
        (f'{{"kv_connector": "MooncakeConnectorV1", "engine_id": "0", {SIZED}}}', ("'engine_id' must not",)),
        (
            f'{{"kv_connector": "MooncakeConnectorV1", "kv_connector_module_path": "a.b", {SIZED}}}',
            ("'kv_connector_module_path' must not",),
        ),
        ('{"kv_connector": "MooncakeConnectorV1"}', ("AssertionError", "sizes")),
        ('{"kv_connector": "MooncakeConnector"}', ("no connector 'MooncakeConnector'",)),
        ('{"kv_connector": "MooncakeConnectorStoreV1"}', ()),
    ],
)
def test_kv_transfer_in_a_script_is_checked(block, words):
    found = told(ending(f"--kv-transfer-config \\\n '{block}'"))
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)


def test_cards_of_an_a3_are_counted_by_eight():
    loop = "for i in {0..15}; do npu-smi info -t spod-info -i $i -c 0; done\n"
    one(GOOD + loop, "cards 0 to 15")
    assert told(GOOD + loop.replace("15", "7")) == []
    assert told(GOOD + "for i in {0..15}; do hccn_tool -i $i -link -g; done\n") == []


DOCUMENT = """\
#!/bin/sh
export HCCL_BUFFER_SIZE=1024
export VLLM_DP_SIZE=$1
export VLLM_DP_SIZE_LOCAL=$7
export VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED=1
vllm serve m \\
--speculative-config '{"num_speculative_tokens": 1, "method":"deepseek_mtp"}' \\
--kv-transfer-config \\
'{"kv_connector": "MooncakeConnectorV1",
"kv_port": "20001",
"engine_id": "0"
}'
--additional-config '{"enable_weight_nz_layout":true,"enable_prefill_optimizations":true}'
"""


def test_the_documents_own_script_is_told_all_of_it():
    found = " / ".join(told(DOCUMENT))
    for words in (
        "HCCL_BUFFER_SIZE",
        "VLLM_DP_SIZE_LOCAL",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED",
        "deepseek_mtp",
        "kv_port 20001",
        "engine_id",
        "without the sizes",
        "--additional-config is run as a command",
        "enable_weight_nz_layout",
        "enable_prefill_optimizations",
        "offline mode",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("'a'", None),
        ("'a", ("'", 1)),
        ('x\n"a', ('"', 2)),
        ("a \\' b", None),
        ("echo `x", ("`", 1)),
        ("${#a}", None),
    ],
)
def test_quotes_are_followed(text, opened):
    assert read(text)[1] == opened


def test_lines_know_what_they_stand_in():
    found = {line.number: line for line in read("a \\\n\n'x\ny'\nb=(\nc\n)\nd \\\\\n")[0]}
    assert [n for n, line in found.items() if line.inside] == [4, 6, 7]
    assert [n for n, line in found.items() if line.continues] == [1]
