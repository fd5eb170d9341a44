"""Switches of vllm-ascend as data, and what their names were through the versions.

Looked up in its sources at every release from 0.9.1 to 0.25.1rc1.
"""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines.vllm.switches import ALWAYS, ENV, FLAG, KEY, NEVER, PROXY, REFUSED, RESET, VLLM, Switch

ENVS = "vllm-ascend, vllm_ascend/envs.py at every release"
CONFIG = "vllm-ascend, vllm_ascend/ascend_config.py at every release"
PLATFORM = "vllm-ascend, vllm_ascend/platform.py (PR #8507)"
EXAMPLE = "vllm-ascend, load_balance_proxy_server_example.py of 0.9.1, 0.13.0 and 0.23.0"
TEMPLATE = "vllm-ascend v0.9.1, examples/external_online_dp/run_dp_template.sh; HCCL's manual"
DBO = "vllm-ascend PR #941 (in) and #3712 (out)"
OLD_DBO = "vllm-ascend PR #941, its description and its measurements"


def _rows(kind: str, source: str, rows: tuple[tuple[str, str, str, str], ...]) -> Iterator[Switch]:
    return (Switch(name, kind, first, gone, instead, source) for name, first, gone, instead in rows)


_VARIABLES = (
    ("VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED", ALWAYS, "0.10.1rc1", "data parallelism is given by flags"),
    ("VLLM_DP_SIZE_LOCAL", ALWAYS, "0.10.1rc1", "data parallelism is given by flags"),
    ("VLLM_ASCEND_ENABLE_NZ", "0.11.0rc1", ALWAYS, ""),
    ("VLLM_ASCEND_ENABLE_FLASHCOMM", ALWAYS, "0.20.2rc1", ""),
    ("VLLM_ASCEND_ENABLE_FLASHCOMM1", "0.11.0rc1", ALWAYS, ""),
    ("VLLM_ASCEND_ENABLE_FLASHCOMM2_OSHARED", "0.12.0rc1", "0.13.0rc2", ""),
    ("VLLM_ASCEND_FLASHCOMM2_PARALLEL_SIZE", "0.12.0rc1", "0.25.1rc1", "remove it: FlashComm2 is gone"),
    ("VLLM_ASCEND_ENABLE_MATMUL_ALLREDUCE", "0.10.1rc1", "0.25.1rc1", ""),
    ("VLLM_ASCEND_ENABLE_MLAPO", "0.11.0rc0", ALWAYS, ""),
    ("VLLM_ASCEND_ENABLE_FUSED_MC2", "0.13.0rc1", ALWAYS, ""),
    ("VLLM_ASCEND_BALANCE_SCHEDULING", "0.13.0rc1", ALWAYS, ""),
    ("VLLM_ASCEND_FUSION_OP_TRANSPOSE_KV_CACHE_BY_BLOCK", "0.15.0rc1", ALWAYS, ""),
    ("VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL", "0.12.0rc1", "0.21.0rc1", "pcp and dcp of the role are enough"),
    ("VLLM_ASCEND_ENABLE_TOPK_OPTIMIZE", ALWAYS, "0.10.1rc1", "remove it"),
    ("VLLM_ASCEND_ENABLE_TOPK_TOPP_OPTIMIZATION", "0.10.1rc1", "0.12.0rc1", "remove it: it is the default"),
    ("VLLM_ASCEND_ENABLE_PREFETCH_MLP", "0.10.2rc1", "0.18.0rc1", ""),
    ("VLLM_ASCEND_MLP_GATE_UP_PREFETCH_SIZE", "0.10.2rc1", "0.18.0rc1", ""),
    ("VLLM_ASCEND_MLP_DOWN_PREFETCH_SIZE", "0.10.2rc1", "0.18.0rc1", ""),
    ("VLLM_ASCEND_ENABLE_DENSE_OPTIMIZE", "0.10.2rc1", "0.13.0rc1", ""),
    ("VLLM_ASCEND_ENABLE_MLP_OPTIMIZE", "0.10.1rc1", "0.12.0rc1", ""),
    ("VLLM_ASCEND_ENABLE_MOE_ALL2ALL_SEQ", ALWAYS, "0.10.1rc1", ""),
    ("VLLM_ASCEND_MOE_ALL2ALL_BUFFER", ALWAYS, "0.10.1rc1", ""),
    ("VLLM_ASCEND_ENABLE_CHUNK_MC2", ALWAYS, "0.10.1rc1", ""),
    ("VLLM_ASCEND_FUSED_MOE_MC2_CHUNK_SIZE", ALWAYS, "0.10.1rc1", ""),
    ("VLLM_ASCEND_KV_CACHE_MEGABYTES_FLOATING_TOLERANCE", ALWAYS, "0.12.0rc1", ""),
    ("VLLM_ASCEND_MLA_PA", ALWAYS, "0.12.0rc1", ""),
    ("VLLM_ASCEND_TRACE_RECOMPILES", ALWAYS, "0.12.0rc1", ""),
    ("VLLM_ASCEND_MODEL_EXECUTE_TIME_OBSERVE", ALWAYS, "0.15.0rc1", ""),
    ("VLLM_ENABLE_FUSED_EXPERTS_ALLGATHER_EP", "0.10.1rc1", "0.13.0rc1", ""),
    ("USE_OPTIMIZED_MODEL", ALWAYS, "0.15.0rc1", ""),
    ("VLLM_LLMDD_RPC_PORT", ALWAYS, "0.10.1rc1", "remove it: LLMDataDist is gone"),
    ("VLLM_ASCEND_LLMDD_RPC_PORT", "0.10.1rc1", "0.12.0rc1", "remove it: LLMDataDist is gone (PR #4780)"),
    ("VLLM_ASCEND_LLMDD_RPC_IP", ALWAYS, "0.12.0rc1", "remove it: LLMDataDist is gone (PR #4780)"),
    (
        "DISAGGREGATED_PREFILL_RANK_TABLE_PATH",
        ALWAYS,
        "0.12.0rc1",
        "remove it: Mooncake connectors read no rank table (PR #4780)",
    ),
    ("VLLM_LLMDD_ABORT_REQUEST_TIMEOUT", ALWAYS, "0.10.1rc1", ""),
    ("VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT", "0.10.1rc1", "0.11.0rc2", ""),
    ("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "0.18.0", ALWAYS, ""),
)

_KEYS = (
    ("enable_weight_nz_layout", ALWAYS, "0.10.1rc1", ""),
    ("weight_nz_mode", "0.20.2rc1", ALWAYS, ""),
    ("enable_prefill_optimizations", ALWAYS, "0.10.1rc1", "remove it: there is no successor"),
    ("lmhead_tp_size", ALWAYS, "0.10.1rc1", ""),
    ("lmhead_tensor_parallel_size", "0.10.1rc1", "0.12.0rc1", ""),
    ("oproj_tensor_parallel_size", "0.10.2rc1", "0.12.0rc1", ""),
    ("finegrained_tp_config", "0.12.0rc1", ALWAYS, ""),
    ("finegrained_tp_config.lmhead_tensor_parallel_size", "0.12.0rc1", ALWAYS, ""),
    ("finegrained_tp_config.oproj_tensor_parallel_size", "0.12.0rc1", ALWAYS, ""),
    ("torchair_graph_config", ALWAYS, "0.12.0rc1", "remove it: torchair is gone (PR #4814)"),
    ("torchair_graph_config.enable_multistream_moe", ALWAYS, "0.11.0rc0", ""),
    ("torchair_graph_config.enable_multistream_mla", ALWAYS, "0.12.0rc1", "remove it: torchair is gone"),
    ("enable_multistream_moe", ALWAYS, NEVER, "it stood in torchair_graph_config, until 0.10.2rc1"),
    ("enable_multistream_mla", ALWAYS, NEVER, "it stood in torchair_graph_config, until 0.11.0"),
    ("enable_multistream_shared_expert", ALWAYS, "0.9.1", ""),
    ("multistream_overlap_shared_expert", "0.11.0rc0", ALWAYS, ""),
    ("multistream_overlap_gate", "0.13.0rc1", "0.24.0rc1", "remove it (PR #11956)"),
    ("ascend_scheduler_config", ALWAYS, "0.12.0rc1", "remove it: the scheduler is vLLM's own"),
    ("chunked_prefill_for_mla", "0.10.1rc1", "0.13.0rc1", ""),
    ("kv_cache_dtype", "0.10.1rc1", "0.13.0rc1", ""),
    ("enable_prefetch", "0.10.1rc1", "0.11.0rc1", ""),
    ("weight_prefetch_config", "0.11.0rc1", "0.24.0rc1", ""),
    ("enable_shared_expert_dp", "0.10.1rc1", ALWAYS, ""),
    ("recompute_scheduler_enable", "0.11.0rc1", ALWAYS, ""),
    ("scheduler_config", "0.25.1rc1", ALWAYS, "its keys stand at the top: recompute_scheduler_enable"),
    ("eplb_config", "0.13.0rc2", ALWAYS, ""),
    ("dynamic_eplb", ALWAYS, "0.14.0rc1", "eplb_config: {dynamic_eplb: …}"),
    ("expert_map_path", ALWAYS, "0.14.0rc1", "eplb_config: {expert_map_path: …}"),
    ("expert_map_record_path", "0.11.0rc0", "0.14.0rc1", "eplb_config: {expert_map_record_path: …}"),
    ("eplb_policy_type", "0.11.0rc1", "0.14.0rc1", "eplb_config: {eplb_policy_type: …}"),
    ("init_redundancy_expert", "0.11.0rc0", "0.14.0rc1", "eplb_config: {num_redundant_experts: …}"),
    (
        "num_iterations_eplb_update",
        ALWAYS,
        "0.14.0rc1",
        "eplb_config: {expert_heat_collection_interval: …}",
    ),
    ("num_wait_worker_iterations", ALWAYS, "0.14.0rc1", "eplb_config: {algorithm_execution_interval: …}"),
    ("gate_eplb", ALWAYS, "0.14.0rc1", ""),
    ("enable_npugraph_ex", "0.12.0rc1", "0.14.0rc1", ""),
    ("npugraph_ex_config", "0.14.0rc1", "0.16.0rc1", "ascend_compilation_config: {enable_npugraph_ex: …}"),
    ("ascend_compilation_config", "0.12.0rc1", ALWAYS, ""),
    ("ascend_fusion_config", "0.14.0rc1", ALWAYS, ""),
    ("xlite_graph_config", "0.12.0rc1", ALWAYS, ""),
    ("profiling_chunk_config", "0.19.1rc1", ALWAYS, ""),
    ("rejection_sampler_config", "0.21.0rc1", ALWAYS, ""),
    ("hamming_sparse", "0.19.1rc1", "0.25.1rc1", ""),
    ("enable_hamming_sparse", "0.19.1rc1", "0.25.1rc1", ""),
    ("enable_flashcomm1", "0.20.2rc1", ALWAYS, ""),
    ("enable_flashcomm2_parallel_size", "0.20.2rc1", "0.25.1rc1", "remove it: FlashComm2 is gone"),
    ("enable_mlapo", "0.20.2rc1", ALWAYS, ""),
    ("enable_fused_mc2", "0.20.2rc1", ALWAYS, ""),
    ("enable_balance_scheduling", "0.20.2rc1", ALWAYS, ""),
    ("enable_matmul_allreduce", "0.20.2rc1", "0.25.1rc1", ""),
    ("enable_transpose_kv_cache_by_block", "0.20.2rc1", ALWAYS, ""),
    ("msmonitor_use_daemon", "0.20.2rc1", ALWAYS, ""),
    ("enable_dsa_cp", "0.20.2rc1", ALWAYS, ""),
    ("enable_context_parallel", "0.20.2rc1", "0.21.0rc1", "pcp and dcp of the role are enough"),
    ("enable_reduce_sample", "0.20.2rc1", ALWAYS, ""),
    ("multistream_dsa_preprocess", "0.20.2rc1", "0.22.1rc1", ""),
    ("multistream_dsv4_dsa_overlap", "0.20.2rc1", ALWAYS, ""),
    ("prefill_comm_compute_overlap", "0.20.2rc1", "0.22.1rc1", ""),
    ("dp_allreduce_on_npu", "0.21.0rc1", "0.25.1rc1", ""),
    ("c8_enable_reshape_optim", "0.21.0rc1", ALWAYS, ""),
    ("ascend_log_path", "0.22.1rc1", ALWAYS, ""),
    ("enable_prefill_mc2", "0.23.0rc1", ALWAYS, ""),
    ("enable_sleep_mode_extra_cleanup", "0.23.0rc1", ALWAYS, ""),
    ("enable_sparse_c8", "0.18.0rc1", ALWAYS, ""),
    ("enable_sparse_li_c8", "0.23.0rc1", "0.24.0rc1", "enable_sparse_c8"),
    ("enable_sparse_sfa_c8", "0.23.0rc1", "0.24.0rc1", "enable_sparse_c8"),
    ("mega_moe_max_tokens", "0.23.0rc1", ALWAYS, ""),
    ("SLO_limits_for_dynamic_batch", "0.12.0rc1", "0.24.0rc1", ""),
    ("dump_config", "0.12.0rc1", ALWAYS, ""),
    ("dump_config_path", "0.12.0rc1", ALWAYS, ""),
    ("enable_async_exponential", "0.13.0rc1", "0.25.1rc1", ""),
    ("enable_cpu_binding", ALWAYS, ALWAYS, ""),
    ("enable_kv_nz", "0.13.0rc2", ALWAYS, ""),
    ("enable_mc2_hierarchy_comm", "0.18.0rc1", ALWAYS, ""),
    ("layer_sharding", "0.13.0rc2", "0.24.0rc1", ""),
    ("mix_placement", "0.13.0rc2", ALWAYS, ""),
    ("pa_shape_list", "0.13.0rc1", ALWAYS, ""),
    ("refresh", ALWAYS, ALWAYS, ""),
    ("sp_threshold", "0.15.0rc1", "0.18.0rc1", ""),
    ("draft_window_size", "0.24.0rc1", ALWAYS, ""),
    ("short_request_first_config", "0.24.0rc1", ALWAYS, ""),
    ("batch_job_sched_config", "0.25.1rc1", ALWAYS, ""),
)

_OLD_KEYS = (
    ("expert_tensor_parallel_size", ALWAYS, "0.9.1", "remove it: expert parallelism is ep of the role"),
    ("enable_graph_mode", ALWAYS, "0.9.0rc1", "remove it"),
    ("enable_inter_dp_scheduling", ALWAYS, NEVER, "remove it"),
    ("init_torchair_graph_batch_sizes", ALWAYS, NEVER, "remove it"),
    ("trace_recompiles", ALWAYS, NEVER, "remove it"),
)

_RESET = "remove it: vllm-ascend overlaps by other means"
ASCEND = (
    *VLLM,
    Switch("enable-dbo", FLAG, ALWAYS, "0.20.2rc1", _RESET, PLATFORM, RESET),
    Switch("ubatch-size", FLAG, ALWAYS, "0.20.2rc1", _RESET, PLATFORM, RESET),
    Switch("VLLM_ASCEND_ENABLE_DBO", ENV, ALWAYS, "0.12.0rc1", "remove it: there is no successor", DBO),
    Switch("VLLM_ENABLE_DBO", ENV, ALWAYS, NEVER, "remove it", OLD_DBO),
    Switch("HCCL_BUFFER_SIZE", ENV, ALWAYS, NEVER, "HCCL_BUFFSIZE, in MB", TEMPLATE),
    Switch(
        "VLLM_NIXL_ABORT_REQUEST_TIMEOUT",
        ENV,
        "0.11.0rc0",
        "0.18.0",
        "",
        "vllm-ascend, mooncake_connector.py at every release",
        kept_by="MooncakeHybridConnector",
    ),
    *_rows(ENV, ENVS, _VARIABLES),
    *_rows(KEY, CONFIG, _KEYS),
    *_rows(KEY, OLD_DBO, _OLD_KEYS),
)
"""What vllm-ascend reads, and what vLLM below it does."""

_HOSTS = "remove it: dplaunch gives one host and one port per engine"
ASCEND_PROXY = (
    *(
        Switch(name, PROXY, ALWAYS, "0.10.1rc1", _HOSTS, EXAMPLE, REFUSED)
        for name in ("prefiller-hosts-num", "prefiller-ports-inc", "decoder-hosts-num", "decoder-ports-inc")
    ),
    *(
        Switch(name, PROXY, ALWAYS, NEVER, "remove it", EXAMPLE, REFUSED)
        for name in ("prefiller-host-num", "prefiller-port-inc", "decoder-host-num", "decoder-port-inc")
    ),
    Switch("max-waiting-retries", PROXY, "0.13.0rc1", ALWAYS, "remove it", EXAMPLE, REFUSED, "0.12.0rc1"),
    Switch("waiting-retry-interval", PROXY, "0.13.0rc1", ALWAYS, "remove it", EXAMPLE, REFUSED, "0.12.0rc1"),
    Switch("workers", PROXY, "0.23.0rc1", ALWAYS, "remove it", EXAMPLE, REFUSED, "0.22.1rc1"),
    Switch("log-level", PROXY, "0.23.0rc1", ALWAYS, "remove it", EXAMPLE, REFUSED, "0.22.1rc1"),
)
"""Flags of vLLM-Ascend's proxy script."""

FAMILIES = (
    ("enable_weight_nz_layout", "VLLM_ASCEND_ENABLE_NZ", "weight_nz_mode"),
    (
        "torchair_graph_config.enable_multistream_moe",
        "enable_multistream_moe",
        "enable_multistream_shared_expert",
        "multistream_overlap_shared_expert",
    ),
    ("lmhead_tp_size", "lmhead_tensor_parallel_size", "finegrained_tp_config.lmhead_tensor_parallel_size"),
    ("oproj_tensor_parallel_size", "finegrained_tp_config.oproj_tensor_parallel_size"),
    ("VLLM_ASCEND_ENABLE_FLASHCOMM", "VLLM_ASCEND_ENABLE_FLASHCOMM1", "enable_flashcomm1"),
    ("VLLM_ASCEND_FLASHCOMM2_PARALLEL_SIZE", "enable_flashcomm2_parallel_size"),
    ("VLLM_ASCEND_ENABLE_MATMUL_ALLREDUCE", "enable_matmul_allreduce"),
    ("VLLM_ASCEND_ENABLE_MLAPO", "enable_mlapo"),
    ("VLLM_ASCEND_ENABLE_FUSED_MC2", "enable_fused_mc2"),
    ("VLLM_ASCEND_BALANCE_SCHEDULING", "enable_balance_scheduling"),
    ("VLLM_ASCEND_FUSION_OP_TRANSPOSE_KV_CACHE_BY_BLOCK", "enable_transpose_kv_cache_by_block"),
    ("VLLM_ASCEND_ENABLE_TOPK_OPTIMIZE", "VLLM_ASCEND_ENABLE_TOPK_TOPP_OPTIMIZATION"),
    ("VLLM_ASCEND_ENABLE_PREFETCH_MLP", "weight_prefetch_config"),
    ("VLLM_LLMDD_RPC_PORT", "VLLM_ASCEND_LLMDD_RPC_PORT"),
    ("VLLM_ENABLE_DBO", "VLLM_ASCEND_ENABLE_DBO"),
    (
        "VLLM_LLMDD_ABORT_REQUEST_TIMEOUT",
        "VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT",
        "VLLM_NIXL_ABORT_REQUEST_TIMEOUT",
        "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT",
    ),
)
"""Names that one thing had through the versions, in order: the last that a version reads is to be used."""

NOTES = {
    "VLLM_ASCEND_ENABLE_NZ": "0 off, 1 quantised weights (the default), 2 also BF16",
    "weight_nz_mode": "0 off, 1 quantised weights (the default), 2 also BF16",
    "VLLM_ASCEND_ENABLE_MLAPO": "on by default from 0.18.0 on",
    "VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT": "in seconds, 250 unless given",
    "VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "in seconds, 120 unless given, 480 from 0.13 on",
    "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT": "in seconds, 480 unless given",
}
"""What to know when one of them is to be used."""

SECTIONS = {
    "finegrained_tp_config": (
        *("oproj_tensor_parallel_size", "lmhead_tensor_parallel_size", "embedding_tensor_parallel_size"),
        *("mlp_tensor_parallel_size", "olora_tensor_parallel_size"),
    ),
    "eplb_config": (
        *("dynamic_eplb", "expert_map_path", "expert_heat_collection_interval", "eplb_policy_type"),
        *("algorithm_execution_interval", "expert_map_record_path", "num_redundant_experts"),
        "eplb_heat_collection_stage",
    ),
    "torchair_graph_config": (
        *("enabled", "mode", "use_cached_graph", "use_cached_kv_cache_bytes", "graph_batch_sizes"),
        *("graph_batch_sizes_init", "enable_multistream_mla", "enable_multistream_moe", "enable_kv_nz"),
        *("enable_view_optimize", "enable_frozen_parameter", "enable_super_kernel"),
    ),
    "weight_prefetch_config": ("enabled", "prefetch_ratio"),
    "xlite_graph_config": ("enabled", "full_mode"),
    "short_request_first_config": ("enabled", "threshold", "long_max_wait_ms"),
    "scheduler_config": (
        *("enable_balance_scheduling", "recompute_scheduler_enable", "short_request_first_config"),
        *("profiling_chunk_config", "batch_job_sched_config"),
    ),
}
"""Keys inside sections of ``--additional-config``, of all versions: to guess what a misspelt one meant."""
