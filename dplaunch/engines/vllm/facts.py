"""vLLM as a value."""

from __future__ import annotations

from msgspec.structs import replace

from dplaunch.engines.facts import EngineFacts, Help, Metrics
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.transfer import MULTI, NIXL, STORES
from dplaunch.model.plan import Api, Stage

PORTS = {"http": 9000, "rpc": 13395, "kv": 61000}
"""Of every form that starts a process for each rank."""
FORMS_PORTS = {"supervisor": 9256, "master": 29501}
"""Of the others: vLLM's own default values."""
SCRIPT = "run_dp_template.sh"
KEY_ENV = "VLLM_API_KEY"

API = Api(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    fetched=(
        # the engine's account of prompts, then the connector's of bytes
        'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"}',
        "vllm:nixl_bytes_transferred_sum",
    ),
)

LOOKED_UP = ("vllm:external_prefix_cache_queries_total", "vllm:external_prefix_cache_hits_total")
"""Prompt tokens asked of a store of KV, and found. Source: vLLM from 0.11.1, v1/metrics/loggers.py."""

METRICS = Metrics(
    finished="vllm:request_success_total",
    running=API.running,
    waiting=API.waiting,
    ttft="vllm:time_to_first_token_seconds",
    tpot="vllm:inter_token_latency_seconds",
    kv_used="vllm:kv_cache_usage_perc",
    prefix_queries="vllm:prefix_cache_queries_total",
    prefix_hits="vllm:prefix_cache_hits_total",
)
"""Source: vLLM 0.11, v1/metrics/loggers.py."""
BEFORE_0_11 = {"tpot": "vllm:time_per_output_token_seconds"}
BEFORE_0_10 = {
    "kv_used": "vllm:gpu_cache_usage_perc",
    "prefix_queries": "vllm:gpu_prefix_cache_queries_total",
    "prefix_hits": "vllm:gpu_prefix_cache_hits_total",
}


def metrics(version: str) -> Metrics:
    """The names that a release of vLLM uses; those of the newest for what is not a version."""
    older = {} if at_least(version, "0.11") else BEFORE_0_11
    oldest = {} if at_least(version, "0.10") else BEFORE_0_10
    return replace(METRICS, **older, **oldest)


SURE = "--tensor-parallel-size"
HELP = Help(
    program="vllm serve",
    # before it knew --help=all, vLLM searched its help for the word "all"
    ask=f"""help=$(vllm serve --help=all 2>/dev/null)
case $help in *{SURE}*) ;; *) help=$(vllm serve --help) || exit ;; esac
printf '%s\\n' "$help" | grep -E '^ {{1,8}}-'""",
    sure=SURE,
)

PACKAGES = {
    "vllm": ("vllm",),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "mooncake": ("mooncake-transfer-engine", "mooncake-transfer-engine-non-cuda", "mooncake"),
}

_PLACES = "nodes, groups, dp and master of the role"
_LB = "lb of the role (external, hybrid, internal, supervisor)"
COMPUTED = {
    "api-key": "api_key",
    "data-parallel-rpc-port": "ports.rpc",
    "data-parallel-size|dp": "dp of the role",
    "decode-context-parallel-size|dcp": "dcp of the role",
    "(?:no-)?enable-dbo|dbo-(?:decode|prefill)-token-threshold": "dbo of the role",
    "(?:no-)?enable-expert-parallel|ep": "ep of the role",
    "host": "address of the node",
    "kv-transfer-config": "kv_transfer",
    "model": "model at the top of the file",
    "pipeline-parallel-size|pp": "pp of the role",
    "port": "ports.http",
    "prefill-context-parallel-size|pcp": "pcp of the role",
    "served-model-name": "served_model_name",
    "shutdown-timeout": "drain_timeout",
    "tensor-parallel-size|tp": "tp of the role",
    "headless|data-parallel-(?:(?:multi-port-external|hybrid|external)-lb|start-rank|size-local)": _LB,
    "data-parallel-supervisor-port": "ports.supervisor",
    "nnodes|node-rank|master-addr|master-port": "nodes of the role (an engine of dp 1 is spread over them)",
    "data-parallel-.+": _PLACES,
}

STAGES = (
    Stage("arguments", r"non-default args:|vLLM API server version"),
    Stage("waiting for its group", r"Started DP Coordinator process|Waiting for init message from front-end"),
    Stage("engine", r"Initializing a V1 LLM engine"),
    Stage("rendezvous", r"rank \d+ in world size \d+ is assigned as DP rank"),
    Stage(
        "weights",
        r"Starting to load model|Loading safetensors checkpoint shards: +(?P<percent>\d+)% Completed",
    ),
    Stage("memory", r"Loading (?:model )?weights took"),
    Stage("KV cache", r"(?:GPU|NPU|CPU) KV cache size|Available KV cache memory"),
    Stage("graphs", r"Starting to capture ACL graphs|Capturing (?:ACL|CUDA) graphs|Graph capturing finished"),
    Stage("HTTP server", r"init engine \(profile, create kv cache, warmup model\) took"),
    Stage("listening", r"Starting vLLM (?:API )?server(?: \d+)? on http"),
    Stage("serving", r"Application startup complete"),
)
"""Log lines of a server's start-up, in order (vLLM and vllm-ascend; also on a CPU): a stage is named for what
the engine does from that line on. Wording varies between versions: patterns are loose."""

BANNERS = (
    "vLLM API server version",
    "data parallel engine(s) in headless mode",
    "headless multiproc executor",
)
CHATTER = (
    r'"[A-Z]+ \S+ HTTP/1\.\d" \d{3}',
    r"\bAvg (?:prompt|generation) throughput:",
    r"\bSpecDecoding metrics:",
)

FACTS = EngineFacts(
    kind="vllm",
    needs=frozenset(("version", "hardware", "kv_transfer")),
    families=(("gpu", 1),),
    example_hardware="gpu-8, or cpu",
    default_connector=NIXL,
    stores=(*STORES, MULTI),
    ports={**PORTS, **FORMS_PORTS},
    script=SCRIPT,
    key_env=KEY_ENV,
    api=API,
    metrics=METRICS,
    stages=STAGES,
    banners=BANNERS,
    chatter=CHATTER,
    packages=PACKAGES,
    must_agree=("vllm",),
    computed=COMPUTED,
    help=HELP,
    lb=("external", "hybrid", "internal", "supervisor"),
    spans_nodes=True,
    without_dbo="",
    titles=(r"vllm serve(?: |$)", r"vllm\.entrypoints", "VLLM::", "EngineCore", r"vllm-router(?: |$)"),
)
