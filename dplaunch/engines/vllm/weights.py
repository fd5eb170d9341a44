"""What vLLM does not do with a model: the ``config.json`` of the weights against the file's sizes and flags.

Rules are errors where vLLM ends at start-up, and warnings where that depends on more than both files say.
Sources, unless a rule has its own: vLLM 0.11.0, 0.23.0 and 0.33.0, ``vllm/config/model.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.engines.rules import arguments, environments, warning
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.advice import number
from dplaunch.engines.vllm.lint import as_map
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, RoleSpec

Model = Mapping[str, Any]

LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_sequence_length", "max_seq_length", "seq_len"),
)
STRETCHED_ALREADY = ("su", "longrope", "llama3")
"""RoPE scalings whose factor the length in the configuration includes."""

METHODS = {"fp8", "awq", "gptq", "compressed-tensors", "bitsandbytes"}
"""Quantizations of which none stands in for another."""
DETECTED = "0.17.0rc1"
"""The first vllm-ascend that recognises weights of ModelSlim by itself."""
STRICT = "0.18.0rc1"
"""From here on at the latest vllm-ascend leaves weights that name their quantization to that one."""

MTP = re.compile(r"(?:\w+_)?mtp")
WITH_MTP = {"deepseek_v3", "deepseek_v32", "glm4_moe", "kimi_k2"}
"""Models whose MTP layers are counted by ``num_nextn_predict_layers``."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kKmM]?)")
_UNITS = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}


def check(spec: ClusterSpec, model: Model, engine: str, version: str) -> Iterator[Problem]:
    """Everything that does not fit; nothing where flags change the configuration.

    ``engine``: ``vllm-ascend 0.23.0``; ``version``: that of its vLLM.
    """
    places = list(arguments(spec))
    if any(name.partition(".")[0] == "hf-overrides" for _, args in places for name in args):
        return
    for role in spec.roles:
        # a tp that does not fit is one finding
        yield from tuple(_heads(role, model, version)) or _widths(role, model, engine)
        yield from _layers(role, model)
        yield from _experts(role, model)
    for place, args in places:
        yield from _length(spec, place, args, model)
        yield from _speculation(place, args, model)
    yield from _quantization(spec, model, engine)
    yield from _tokenizer(spec, model)


def _size(model: Model, key: str) -> int:
    """A size of the model; 0 where its configuration does not give one."""
    value = model.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _heads(role: RoleSpec, model: Model, version: str) -> Iterator[Problem]:
    heads, kv_heads = _size(model, "num_attention_heads"), _size(model, "num_key_value_heads")
    if heads % role.tp:
        yield Problem(
            f"the model has {heads} attention heads, which tp {role.tp} of {role.name} does not divide",
            key=f"roles.{role.name}.tp",
            hint=f"use a tp that divides {heads}",
        )
    elif kv_heads and not model.get("kv_lora_rank"):
        yield from _kv_heads(role, heads, kv_heads, version)


def _kv_heads(role: RoleSpec, heads: int, kv_heads: int, version: str) -> Iterator[Problem]:
    """Without latent attention KV heads are split over tp, or copied to equal shares of it."""
    if kv_heads % role.tp and role.tp % kv_heads:
        yield Problem(
            f"the model has {kv_heads} KV heads: tp {role.tp} of {role.name} is neither a divisor nor a "
            "multiple of it",
            key=f"roles.{role.name}.tp",
            hint=f"use a tp that divides {kv_heads}, or a multiple of {kv_heads}",
            source="vLLM, vllm/model_executor/models/llama.py and qwen3_moe.py: an assertion",
        )
    elif role.dcp > 1 and role.pcp == 1 and at_least(version, "0.23.0"):
        most = role.tp // kv_heads if role.tp > kv_heads else 1
        if role.dcp > most or heads // kv_heads % role.dcp:
            yield Problem(
                f"dcp {role.dcp} of {role.name} does not fit a model with {heads} attention heads and "
                f"{kv_heads} KV heads at tp {role.tp}",
                key=f"roles.{role.name}.dcp",
                hint=f"dcp: at most {most} (tp / KV heads), and a divisor of {heads // kv_heads}",
            )


def _widths(role: RoleSpec, model: Model, engine: str) -> Iterator[Problem]:
    """Matrices are split evenly: of dense layers over tp, of experts over all ranks unless ep is on."""
    dense, expert = _size(model, "intermediate_size"), _size(model, "moe_intermediate_size")
    has_dense = not _size(model, "experts") or _size(model, "first_k_dense_replace")
    if has_dense and dense % role.tp:
        yield _uneven(role, "intermediate_size", dense, "tp", role.tp)
    ranks = role.tp * role.dp * role.pcp
    if expert and _size(model, "experts") and not role.expert_parallel:
        if expert % ranks:
            yield _uneven(role, "moe_intermediate_size", expert, "dp × pcp × tp", ranks)
        elif engine.startswith("vllm "):
            yield from _blocks(role, model, expert // ranks)


def _uneven(role: RoleSpec, key: str, width: int, what: str, ranks: int) -> Problem:
    return Problem(
        f"{key} of the model is {width}, which {what} {ranks} of {role.name} does not divide",
        key=f"roles.{role.name}.tp",
        hint="use a smaller tp" if what == "tp" else "ep: true, which keeps each expert whole",
        source="vLLM, vllm/distributed/utils.py (divide), vllm/model_executor/layers/fused_moe",
    )


def _blocks(role: RoleSpec, model: Model, share: int) -> Iterator[Problem]:
    quantization = as_map(model.get("quantization_config"))
    block = quantization.get("weight_block_size")
    first = block[0] if isinstance(block, list | tuple) and block else None
    if quantization.get("quant_method") == "fp8" and isinstance(first, int) and share % first:
        yield Problem(
            f"each rank of {role.name} gets {share} columns of an expert, and its FP8 scales stand for "
            f"blocks of {first}",
            key=f"roles.{role.name}.tp",
            hint="ep: true, which keeps each expert whole, or a smaller tp",
            source="vLLM, vllm/model_executor/layers/quantization/fp8.py (validate_fp8_block_shape_moe)",
        )


def _layers(role: RoleSpec, model: Model) -> Iterator[Problem]:
    layers = _size(model, "num_hidden_layers")
    if layers and role.pp > layers:
        text = f"the model has {layers} layers, and pp of {role.name} is {role.pp}: some stages hold none"
        yield warning(
            text, f"roles.{role.name}.pp", f"pp: at most {layers}", "vLLM, vllm/distributed/utils.py"
        )


def _experts(role: RoleSpec, model: Model) -> Iterator[Problem]:
    experts, ranks = _size(model, "experts"), role.dp * role.pcp * role.tp
    if not role.expert_parallel or ranks == 1:
        return
    if not experts:
        yield Problem(
            f"the model has no experts, and {role.name} has expert parallelism",
            key=f"roles.{role.name}.ep",
            hint="ep: false",
        )
    elif experts % ranks:
        yield warning(
            f"the {experts} experts of the model do not spread evenly over the {ranks} ranks of {role.name}",
            f"roles.{role.name}.ep",
            "let dp × pcp × tp divide the number of experts, unless redundant experts fill the rest",
            "vLLM, vllm/model_executor/layers/fused_moe: determine_expert_map; CANN, MoeDistributeDispatch",
        )


def _length(spec: ClusterSpec, place: str, args: Mapping[str, ArgValue], model: Model) -> Iterator[Problem]:
    wanted, longest = _tokens(args.get("max-model-len")), _longest(model)
    allowed = any("VLLM_ALLOW_LONG_MAX_MODEL_LEN" in env for _, env in environments(spec))
    if longest and wanted > longest and not allowed:
        yield Problem(
            f"max-model-len of {place.removesuffix('.args')} is {wanted}, "
            f"and the model takes {longest} tokens",
            key=f"{place}.max-model-len",
            hint=f"max-model-len: {longest}, or less",
        )


def _tokens(value: ArgValue) -> int:
    """A length as vLLM reads it, ``8K`` as 8192 and ``8k`` as 8000; 0 where it chooses itself."""
    found = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0


def _longest(model: Model) -> int:
    """The most tokens that any vLLM derives from the configuration; 0 where it says nothing."""
    given = [size for key in LENGTHS if (size := _size(model, key)) > 0]
    longest = max(min(given, default=0), _size(model, "model_max_length"))
    for key in ("rope_scaling", "rope_parameters"):
        scaling = as_map(model.get(key))
        kind, factor = scaling.get("rope_type") or scaling.get("type"), scaling.get("factor")
        if not isinstance(factor, int | float) or kind in STRETCHED_ALREADY:
            continue
        original = _size(scaling, "original_max_position_embeddings")
        longest = max(longest, int((original or longest) * factor))
    return longest


def _speculation(place: str, args: Mapping[str, ArgValue], model: Model) -> Iterator[Problem]:
    config = _section(args, "speculative-config")
    if not MTP.fullmatch(str(config.get("method"))) or "model" in config:
        return
    tokens = number(config.get("num_speculative_tokens")) or 0
    key = "mtp_num_hidden_layers" if "mtp_num_hidden_layers" in model else "num_nextn_predict_layers"
    layers, at = _size(model, key), f"{place}.speculative-config"
    if layers and tokens > layers and tokens % layers:
        text = (
            f"the model has {layers} MTP layers, and num_speculative_tokens {tokens} is not a multiple of it"
        )
        yield Problem(text, key=at, hint=f"num_speculative_tokens: {layers}, or a multiple of it")
    if not layers and model.get("model_type") in WITH_MTP:
        text = f"{place.removesuffix('.args')} speculates by MTP, and the weights have no MTP layer ({key})"
        hint = "remove speculative-config, or use weights with the layer"
        yield Problem(text, key=at, hint=hint, warning=key not in model)


def _section(args: Mapping[str, ArgValue], flag: str) -> Mapping[str, ArgValue]:
    """A flag's keys, given as a map, as JSON or one by one with dots."""
    head = f"{flag}."
    single = {name.removeprefix(head): value for name, value in args.items() if name.startswith(head)}
    return {**as_map(args.get(flag)), **single}


def _quantization(spec: ClusterSpec, model: Model, engine: str) -> Iterator[Problem]:
    own = str(as_map(model.get("quantization_config")).get("quant_method") or "").lower()
    own = own.replace("compressed_tensors", "compressed-tensors")
    ascend, version = engine.startswith("vllm-ascend "), engine.rpartition(" ")[2]
    given = [(place, str(args["quantization"])) for place, args in arguments(spec) if "quantization" in args]
    for place, method in given:
        key, file = f"{place}.quantization", "quant_model_description.json"
        others = METHODS | ({"ascend"} if at_least(version, STRICT) else set())
        if own in METHODS and method in others and own != method:
            text = f"quantization of {place.removesuffix('.args')} is {method}, and the weights are {own}"
            yield Problem(text, key=key, hint="remove quantization: the engine reads it from the weights")
        elif method == "ascend" and not model.get("modelslim"):
            text = f"quantization is ascend, and the weights have no {file}: they are not ModelSlim's"
            source = "vllm-ascend, vllm_ascend/quantization: ModelSlim Quantization Config Not Found"
            yield Problem(text, key=key, hint="remove quantization, or use quantized weights", source=source)
    if ascend and not given and model.get("modelslim") and not at_least(version, DETECTED):
        text = (
            f"the weights are quantized by ModelSlim, and {engine} reads them as such only if it is asked to"
        )
        source = "vllm-ascend, user_guide/feature_guide/quantization.md"
        yield warning(text, "defaults.args.quantization", "add args: {quantization: ascend}", source)


def _tokenizer(spec: ClusterSpec, model: Model) -> Iterator[Problem]:
    trusted = any(args.get("trust-remote-code") for _, args in arguments(spec))
    if model.get("own_tokenizer") and not trusted:
        yield warning(
            "the weights bring a tokenizer of their own in Python, which engines run only if they may",
            "defaults.args.trust-remote-code",
            "add args: {trust-remote-code: true}, if you trust the model's files",
            "transformers, AutoTokenizer: trust_remote_code",
        )
