"""The flags ``vllm serve`` knows, by kind and version (read in vLLM 0.9.1 to 0.32.0; not in 0.29 and 0.31).

A flag of one era is an error in another, exactly as in the engine: ``--data-parallel-rank`` does not exist
before 0.10.1, ``--disable-log-requests`` is gone from 0.18 on.
"""

from __future__ import annotations

FLAG, INT, SIZE, FLOAT, WORD, WORDS, MAYBE, JSON = range(8)
"""Kinds: a switch, a whole number, a number like 16k, a float, a word, words, an optional word, JSON."""

ALIASES = {
    "-ac": "attention-config",
    "-asc": "api-server-count",
    "-cc": "compilation-config",
    "-dcp": "decode-context-parallel-size",
    "-dp": "data-parallel-size",
    "-dpa": "data-parallel-address",
    "-dpb": "data-parallel-backend",
    "-dpe": "data-parallel-external-lb",
    "-dph": "data-parallel-hybrid-lb",
    "-dpl": "data-parallel-size-local",
    "-dpm": "data-parallel-multi-port-external-lb",
    "-dpn": "data-parallel-rank",
    "-dpp": "data-parallel-rpc-port",
    "-dpr": "data-parallel-start-rank",
    "-ep": "enable-expert-parallel",
    "-n": "nnodes",
    "-pcp": "prefill-context-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-q": "quantization",
    "-r": "node-rank",
    "-sc": "speculative-config",
    "-tp": "tensor-parallel-size",
}

FIRST, V10, V11, V13, V18, V23, STILL = (0,), (0, 10, 1), (0, 11), (0, 13), (0, 18), (0, 23), (999,)
V24, V25, V26, V27, V28, V30, V32 = (0, 24), (0, 25), (0, 26), (0, 27), (0, 28), (0, 30), (0, 32)

_TABLE = (  # kind, first release with it, first release without it, names
    (
        FLAG,
        FIRST,
        STILL,
        """allow-credentials disable-cascade-attn disable-chunked-mm-input
        disable-custom-all-reduce disable-fastapi-docs disable-hybrid-kv-cache-manager
        disable-log-stats disable-sliding-window disable-uvicorn-access-log enable-auto-tool-choice
        enable-chunked-prefill enable-expert-parallel enable-lora enable-prefix-caching
        enable-prompt-embeds enable-prompt-tokens-details enable-request-id-headers
        enable-server-load-tracking enable-sleep-mode enable-ssl-refresh enforce-eager
        fully-sharded-loras headless ray-workers-use-nsight return-tokens-as-token-ids
        skip-tokenizer-init trust-remote-code use-tqdm-on-load""",
    ),
    (FLAG, FIRST, V10, "enable-reasoning multi-step-stream-outputs use-v2-block-manager"),
    (
        FLAG,
        FIRST,
        V11,
        """disable-async-output-proc enable-prompt-adapter guided-decoding-disable-additional-properties
        guided-decoding-disable-any-whitespace guided-decoding-disable-fallback""",
    ),
    (
        FLAG,
        FIRST,
        V13,
        "disable-mm-preprocessor-cache enable-lora-bias enable-multimodal-encoder-data-parallel",
    ),
    (FLAG, FIRST, V18, "disable-log-requests"),
    (FLAG, FIRST, V23, "disable-frontend-multiprocessing"),
    (
        FLAG,
        V10,
        STILL,
        """async-scheduling data-parallel-hybrid-lb enable-eplb enable-force-include-usage
        enable-log-outputs enable-log-requests enable-tokenizer-info-endpoint
        exclude-tools-when-tool-choice-none interleave-mm-strings kv-sharing-fast-prefill
        skip-mm-profiling""",
    ),
    (FLAG, V10, V13, "eplb-log-balancedness"),
    (FLAG, V11, STILL, "enable-dbo log-error-stack trust-request-chat-template"),
    (
        FLAG,
        V13,
        STILL,
        """aggregate-engine-logging cudagraph-metrics data-parallel-external-lb
        disable-nccl-for-dp-synchronization enable-layerwise-nvtx-tracing enable-mm-embeds
        kv-cache-metrics tokens-only""",
    ),
    (
        FLAG,
        V18,
        STILL,
        """allow-deprecated-quantization enable-elastic-ep enable-ep-weight-filter
        enable-flashinfer-autotune enable-log-deltas enable-logging-iteration-details
        enable-mfu-metrics enable-offline-docs enable-return-routed-experts enable-tower-connector-lora
        fail-on-environ-validation grpc language-model-only mm-encoder-only specialize-active-lora""",
    ),
    (
        FLAG,
        V23,
        STILL,
        """data-parallel-multi-port-external-lb enable-cumem-allocator enable-flash-late-interaction
        enable-mamba-cache-stochastic-rounding enable-mixed-moe-lora-format numa-bind
        scheduler-reserve-full-isl use-fp64-gumbel""",
    ),
    (
        INT,
        FIRST,
        STILL,
        """api-server-count block-size data-parallel-rpc-port data-parallel-size data-parallel-size-local
        data-parallel-start-rank long-prefill-token-threshold max-cpu-loras max-log-len max-logprobs
        max-lora-rank max-loras max-num-seqs
        max-parallel-loading-workers num-gpu-blocks-override pipeline-parallel-size port seed
        ssl-cert-reqs tensor-parallel-size""",
    ),
    (
        INT,
        FIRST,
        V10,
        "max-prompt-adapter-token max-prompt-adapters num-scheduler-steps tokenizer-pool-size",
    ),
    (INT, FIRST, V11, "max-seq-len-to-capture"),
    (INT, FIRST, V13, "lora-extra-vocab-size num-lookahead-slots"),
    (INT, V10, STILL, "data-parallel-rank"),
    (INT, V10, V13, "eplb-step-interval eplb-window-size num-redundant-experts"),
    (
        INT,
        V11,
        STILL,
        """dbo-decode-token-threshold dbo-prefill-token-threshold decode-context-parallel-size
        h11-max-header-count h11-max-incomplete-event-size mm-shm-cache-max-object-size-mb""",
    ),
    (
        INT,
        V13,
        STILL,
        """cp-kv-cache-interleave-size dcp-kv-cache-interleave-size mamba-block-size master-port
        max-cudagraph-capture-size nnodes node-rank optimization-level prefill-context-parallel-size
        stream-interval""",
    ),
    (
        INT,
        V18,
        STILL,
        """distributed-timeout-seconds offload-group-size offload-num-in-group offload-prefetch-step
        shutdown-timeout ubatch-size""",
    ),
    (
        INT,
        V23,
        STILL,
        """cpu-distributed-timeout-seconds data-parallel-supervisor-port
        dp-supervisor-probe-failure-threshold mamba-cache-philox-rounds renderer-num-workers
        safetensors-prefetch-block-size safetensors-prefetch-num-threads spec-tokens""",
    ),
    (SIZE, FIRST, STILL, "max-model-len max-num-batched-tokens"),
    (SIZE, V11, STILL, "kv-cache-memory-bytes"),
    (FLOAT, FIRST, STILL, "cpu-offload-gb gpu-memory-utilization"),
    (FLOAT, FIRST, V11, "scheduler-delay-factor"),
    (FLOAT, FIRST, V13, "rope-theta"),
    (FLOAT, FIRST, V18, "swap-space"),
    (FLOAT, V10, STILL, "mm-processor-cache-gb"),
    (FLOAT, V11, STILL, "video-pruning-rate"),
    (FLOAT, V13, STILL, "kv-cache-metrics-sample kv-offloading-size"),
    (
        FLOAT,
        V23,
        STILL,
        "dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s mm-encoder-fp8-scale-save-margin",
    ),
    (
        WORD,
        FIRST,
        STILL,
        """allowed-local-media-path chat-template chat-template-content-format code-revision config
        config-format data-parallel-address data-parallel-backend distributed-executor-backend
        download-dir dtype generation-config hf-config-path host kv-cache-dtype load-format
        log-config-file lora-dtype middleware model model-impl otlp-traces-endpoint
        prefix-caching-hash-algo pt-load-map-location quantization reasoning-parser response-role
        revision root-path scheduler-cls scheduling-policy show-hidden-metrics-for-version ssl-ca-certs
        ssl-certfile ssl-keyfile tokenizer tokenizer-mode tokenizer-revision tool-call-parser
        tool-parser-plugin uvicorn-log-level worker-cls worker-extension-cls""",
    ),
    (WORD, FIRST, V10, "device qlora-adapter-name-or-path tokenizer-pool-type"),
    (WORD, FIRST, V11, "guided-decoding-backend preemption-mode"),
    (WORD, FIRST, V13, "task"),
    (WORD, FIRST, V18, "logits-processor-pattern"),
    (
        WORD,
        V10,
        STILL,
        """convert logprobs-mode mamba-cache-dtype mamba-ssm-cache-dtype runner
        tool-server uds""",
    ),
    (
        WORD,
        V11,
        STILL,
        """expert-placement-strategy io-processor-plugin mm-encoder-tp-mode mm-processor-cache-type
        safetensors-load-strategy""",
    ),
    (
        WORD,
        V13,
        STILL,
        """all2all-backend attention-backend kv-offloading-backend master-addr mm-encoder-attn-backend
        reasoning-parser-plugin""",
    ),
    (
        WORD,
        V18,
        STILL,
        """dcp-comm-backend disable-access-log-for-endpoints gdn-prefill-backend mamba-cache-mode
        moe-backend offload-backend performance-mode ssl-ciphers""",
    ),
    (
        WORD,
        V23,
        STILL,
        """fingerprint-mode fingerprint-value linear-backend mamba-backend mm-encoder-attn-dtype
        mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-path mm-tensor-ipc spec-method spec-model""",
    ),
    (WORDS, FIRST, STILL, "api-key collect-detailed-traces ignore-patterns lora-modules served-model-name"),
    (WORDS, FIRST, V10, "long-lora-scaling-factors prompt-adapters"),
    (WORDS, FIRST, V13, "cuda-graph-sizes"),
    (WORDS, V10, STILL, "logits-processors"),
    (WORDS, V11, STILL, "allowed-media-domains"),
    (WORDS, V13, STILL, "cudagraph-capture-sizes"),
    (WORDS, V18, STILL, "cpu-offload-params offload-params"),
    (WORDS, V23, STILL, "kv-cache-dtype-skip-layers lora-target-modules numa-bind-cpus numa-bind-nodes"),
    (MAYBE, FIRST, STILL, "hf-token"),
    (
        JSON,
        FIRST,
        STILL,
        """additional-config allowed-headers allowed-methods allowed-origins compilation-config
        hf-overrides kv-events-config kv-transfer-config limit-mm-per-prompt mm-processor-kwargs
        model-loader-extra-config override-generation-config speculative-config""",
    ),
    (JSON, FIRST, V10, "tokenizer-pool-extra-config"),
    (JSON, FIRST, V11, "override-neuron-config"),
    (JSON, FIRST, V13, "override-pooler-config rope-scaling"),
    (JSON, V10, STILL, "default-mm-loras media-io-kwargs"),
    (JSON, V11, STILL, "eplb-config pooler-config structured-outputs-config"),
    (JSON, V13, STILL, "attention-config ec-transfer-config profiler-config"),
    (JSON, V18, STILL, "default-chat-template-kwargs kernel-config weight-transfer-config"),
    (JSON, V23, STILL, "ir-op-priority quantization-config reasoning-config"),
    (FLAG, FIRST, V28, "calculate-kv-scales"),
    (INT, FIRST, V27, "max-long-partial-prefills max-num-partial-prefills"),
    (WORD, V10, V28, "override-attention-dtype"),
    (FLAG, V24, STILL, "jit-monitor-verbose"),
    (FLAG, V25, STILL, "enable-per-request-metrics"),
    (FLAG, V26, V30, "enable-bf16x3-router-gemm"),
    (FLAG, V26, STILL, "enable-moe-shared-loras"),
    (FLAG, V27, STILL, "cohere-is-reasoning-model enable-fault-tolerance use-replayssm"),
    (FLAG, V28, STILL, "mm-device-do-normalize return-sampling-mask"),
    (FLAG, V30, V32, "enable-mamba-fine-grained-prefix-cache"),
    (
        FLAG,
        V30,
        STILL,
        """dcp-q-replicate enable-batch-sharded-sampling enable-nccl-comm-suspend enable-scale-out
        enable-trace-replay""",
    ),
    (
        FLAG,
        V32,
        STILL,
        """enable-hc-sp enable-mamba-shared-prefix-checkpoint enable-shm-tensor-arena
        long-prefill-token-threshold-adaptive sleep-mode-offload-cudagraph swa-bounded-replay
        trust-request-mm-kwargs""",
    ),
    (INT, V24, STILL, "prefill-schedule-interval"),
    (INT, V26, STILL, "max-num-scheduled-tokens prefix-match-unit"),
    (INT, V27, STILL, "replayssm-buffer-len"),
    (
        INT,
        V30,
        STILL,
        """dp-sync-interval elastic-ep-max-dp-size max-num-queued-reqs max-num-queued-tokens
        prefix-cache-retention-interval sse-keep-alive-interval""",
    ),
    (INT, V32, STILL, "grpc-port max-lora-cls-labels max-num-active-seqs"),
    (FLOAT, V24, STILL, "watermark"),
    (FLOAT, V25, STILL, "mm-ipc-gpu-memory-gb"),
    (FLOAT, V32, STILL, "device-memory-utilization"),
    (WORD, V24, STILL, "device-ids"),
    (WORD, V25, STILL, "jit-monitor-mode"),
    (
        WORD,
        V27,
        STILL,
        """cohere-format kda-prefill-backend mamba-ssu-algorithm mm-hasher-algorithm
        video-pruning-method""",
    ),
    (WORD, V28, STILL, "mm-processor-device"),
    (WORD, V30, STILL, "kda-decode-backend per-request-spec-decode-metrics sparse-indexer-topk-backend"),
    (
        WORD,
        V32,
        STILL,
        "anthropic-disabled-thinking-effort log-level tool-strict-level",
    ),
    (WORDS, V32, STILL, "sleep-preserve-parameter-names"),
    (JSON, V24, STILL, "diffusion-config"),
    (JSON, V25, STILL, "model-class-overrides"),
    (JSON, V27, STILL, "fault-tolerance-config"),
    (JSON, V28, STILL, "ec-manager-config"),
    (JSON, V30, STILL, "engram-config watermark-config"),
    (JSON, V32, STILL, "aux-output-config custom-histogram-buckets logging-config"),
)


def version(text: str) -> tuple[int, ...]:
    """``0.23.0rc1`` → (0, 23, 0)."""
    parts = []
    for part in text.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        parts.append(int(digits or 0))
    return tuple(parts)


def known(release: tuple[int, ...]) -> dict[str, int]:
    """Name (without dashes) → kind, of every flag that this release takes."""
    flags: dict[str, int] = {}
    for kind, since, gone, names in _TABLE:
        if since <= release < gone:
            flags.update(dict.fromkeys(names.split(), kind))
    return flags
