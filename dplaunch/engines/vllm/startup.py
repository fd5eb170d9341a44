"""Log lines of a vLLM server's start-up, in order (vLLM and vllm-ascend; also on a CPU).

Wording varies between versions: patterns are loose. A stage is named for what the engine does from that
line on.
"""

from __future__ import annotations

from dplaunch.model.plan import Stage

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
