"""What a model's config.json allows, against the sizes and flags of a cluster file."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from specs import GPU, cluster, serve

from dplaunch.engines import adapter
from dplaunch.model.cluster import Override

QWEN_MOE = MappingProxyType(
    {
        "model_type": "qwen3_moe",
        "num_attention_heads": 64,
        "num_key_value_heads": 4,
        "num_hidden_layers": 94,
        "max_position_embeddings": 40960,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "experts": 128,
    }
)
DEEPSEEK = MappingProxyType(
    {
        "model_type": "deepseek_v3",
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "kv_lora_rank": 512,
        "num_hidden_layers": 61,
        "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
        "num_nextn_predict_layers": 1,
        "experts": 256,
        "modelslim": True,
    }
)


def judge(model, role=(), *, kind="vllm", version="0.23.0", **changes):
    spec = cluster(serve(**dict(role)), kind=kind, version=version, hardware=GPU, **changes)
    return [
        f"{'warning' if p.warning else 'error'} {p.key}: {p.text}" for p in adapter(kind).weights(spec, model)
    ]


def mtp(tokens, **more):
    return {"args": {"speculative-config": {"method": "mtp", "num_speculative_tokens": tokens, **more}}}


@pytest.mark.parametrize(
    ("model", "role"),
    [
        (QWEN_MOE, {"tp": 4, "dp": 2}),
        (QWEN_MOE, {"tp": 8, "dp": 2, "expert_parallel": True}),
        (QWEN_MOE, {"args": {"max-model-len": 40960}}),
        (QWEN_MOE, {"args": {"max-model-len": "40K"}}),
        (QWEN_MOE, {"args": {"max-model-len": "auto"}}),
        (QWEN_MOE, {"args": {"max-model-len": 131072, "hf-overrides": {"max_position_embeddings": 131072}}}),
        (QWEN_MOE, {"args": {"max-model-len": 131072}, "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}}),
        (DEEPSEEK, {"tp": 16, "dp": 4, "expert_parallel": True}),
        (DEEPSEEK, {"dp": 64, "expert_parallel": True, **mtp(3)}),
        (DEEPSEEK, {"args": {"max-model-len": 163840}}),
        ({**DEEPSEEK, "num_nextn_predict_layers": 0}, mtp(1, model="/a/draft")),
        ({}, {"tp": 3, "pp": 100, **mtp(2)}),
        ({"num_attention_heads": "many", "experts": 0, "quantization_config": []}, {"tp": 3}),
        ({"experts": 0, "intermediate_size": 100}, {"dp": 3}),
    ],
)
def test_what_fits_is_not_mentioned(model, role):
    assert judge(model, role) == []


@pytest.mark.parametrize(
    ("model", "role", "level", "word"),
    [
        (QWEN_MOE, {"tp": 7}, "error roles.serve.tp", "64 attention heads"),
        (
            {**QWEN_MOE, "num_attention_heads": 96, "experts": 0},
            {"tp": 6},
            "error roles.serve.tp",
            "4 KV heads",
        ),
        (QWEN_MOE, {"tp": 8, "dcp": 4}, "error roles.serve.dcp", "dcp 4"),
        (
            QWEN_MOE,
            {"tp": 16, "dp": 64},
            "error roles.serve.tp",
            "moe_intermediate_size of the model is 1536",
        ),
        (
            {**QWEN_MOE, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
            {"tp": 8},
            "error roles.serve.tp",
            "192 columns",
        ),
        ({"experts": 0, "intermediate_size": 100}, {"tp": 8}, "error roles.serve.tp", "intermediate_size"),
        (QWEN_MOE, {"pp": 95}, "warning roles.serve.pp", "94 layers"),
        (QWEN_MOE, {"dp": 6, "expert_parallel": True}, "warning roles.serve.ep", "128 experts"),
        ({"experts": 0}, {"dp": 2, "expert_parallel": True}, "error roles.serve.ep", "no experts"),
        (QWEN_MOE, {"args": {"max-model-len": "41k"}}, "error roles.serve.args.max-model-len", "40960"),
        (
            {"max_position_embeddings": 32768, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
            {"args": {"max-model-len": 65537}},
            "error roles.serve.args.max-model-len",
            "65536 tokens",
        ),
        (
            {"max_position_embeddings": 8192, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            {"args": {"max-model-len": 8193}},
            "error roles.serve.args.max-model-len",
            "8192 tokens",
        ),
        (
            {**DEEPSEEK, "num_nextn_predict_layers": 2},
            mtp(3),
            "error roles.serve.args.speculative-config",
            "2 MTP layers",
        ),
        (
            {**DEEPSEEK, "num_nextn_predict_layers": 0},
            {"args": {"speculative-config.method": "mtp", "speculative-config.num_speculative_tokens": 1}},
            "error roles.serve.args.speculative-config",
            "no MTP layer",
        ),
        ({"model_type": "kimi_k2"}, mtp(1), "warning roles.serve.args.speculative-config", "no MTP layer"),
        (
            {"quantization_config": {"quant_method": "fp8"}},
            {"args": {"quantization": "awq"}},
            "error roles.serve.args.quantization",
            "awq",
        ),
        ({"own_tokenizer": True}, {}, "warning defaults.args.trust-remote-code", "tokenizer of their own"),
    ],
)
def test_what_the_model_does_not_allow_is_found_once(model, role, level, word):
    [line] = judge(model, role)
    assert line.startswith(level), line
    assert word in line


def test_a_quantization_that_another_implements_is_not_refused():
    gptq = {"quantization_config": {"quant_method": "gptq"}}
    assert judge(gptq, {"args": {"quantization": "gptq_marlin"}}) == []
    assert judge({"quantization_config": {"quant_method": "fp8"}}, {"args": {"quantization": "fp8"}}) == []


@pytest.mark.parametrize(
    ("model", "version", "args", "level"),
    [
        ({}, "0.23.0", {"quantization": "ascend"}, "error"),
        ({"modelslim": True}, "0.23.0", {"quantization": "ascend"}, ""),
        ({"modelslim": True}, "0.23.0", {}, ""),
        ({"modelslim": True}, "0.13.0", {}, "warning"),
        (
            {"modelslim": True, "quantization_config": {"quant_method": "fp8"}},
            "0.13.0",
            {"quantization": "ascend"},
            "",
        ),
        (
            {"modelslim": True, "quantization_config": {"quant_method": "fp8"}},
            "0.23.0",
            {"quantization": "ascend"},
            "error",
        ),
    ],
)
def test_weights_of_modelslim_go_with_quantization_ascend(model, version, args, level):
    found = judge(model, {"args": args}, kind="vllm-ascend", version=version)
    assert [line.split()[0] for line in found] == ([level] if level else [])


def test_the_flags_of_a_node_and_of_one_engine_are_looked_at_too():
    wide = Override(args={"max-model-len": 50000})
    [line] = judge(QWEN_MOE, overrides={"serve-0": wide})
    assert line.startswith("error overrides.serve-0.args.max-model-len: max-model-len of overrides.serve-0")
