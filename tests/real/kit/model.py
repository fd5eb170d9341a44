"""Write a model of 568 kB: Qwen3-MoE with two layers, eight experts, random weights and a tokenizer of bytes.

usage: model.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 64,
    "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": True,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu", "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "max_position_embeddings": 4096, "vocab_size": 259, "attention_bias": False,
    "attention_dropout": 0.0, "tie_word_embeddings": False, "bos_token_id": 257, "eos_token_id": 258,
    "pad_token_id": 256, "torch_dtype": "bfloat16", "use_sliding_window": False, "initializer_range": 0.02,
    "router_aux_loss_coef": 0.001, "output_router_logits": False,
}  # fmt: skip
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>", "model_max_length": 4096, "chat_template": TEMPLATE,
}  # fmt: skip
SHARPNESS = 10
"""Random weights find all tokens nearly as likely, so that any answer would be a near-tie."""

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
(folder / "config.json").write_text(json.dumps(CONFIG))
torch.manual_seed(0)
made = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).to(torch.bfloat16)
made.lm_head.weight.data *= SHARPNESS
made.save_pretrained(folder, safe_serialization=True)
(folder / "config.json").write_text(json.dumps(CONFIG))
