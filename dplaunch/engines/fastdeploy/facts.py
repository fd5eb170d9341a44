"""FastDeploy as a value."""

from __future__ import annotations

from dplaunch.engines.facts import EngineFacts, Metrics
from dplaunch.model.plan import Api, Stage

PORTS = {"http": 9000, "metrics": 9200, "queue": 25600, "cache": 26600, "pd": 27600, "rdma": 28600}
"""Kept below the ports from which kernels draw, and 200 apart where a node may hold many ranks."""

PLACES = "nodes, groups, dp and tp of the role"
COMPUTED = {
    "api-key": "api_key",
    "cache-queue-port": "ports.cache",
    "controller-ports?|local-data-parallel-id": PLACES,
    "data-parallel-size|dp|ips|num-servers": PLACES,
    "enable-expert-parallel|ep": "ep of the role",
    "engine-worker-queue-port": "ports.queue",
    "host": "address of the node",
    "metrics-ports?": "ports.metrics",
    "model": "model at the top of the file",
    "pd-comm-port": "ports.pd",
    "ports?": "ports.http",
    "rdma-comm-ports": "ports.rdma",
    "router": "router",
    "scheduler-(?:name|host|port|topic|password|db)": "redis",
    "served-model-name": "served_model_name",
    "splitwise-role": "the name of the role",
    "tensor-parallel-size|tp": "tp of the role",
}

STAGES = (
    Stage("servers", r"Starting servers on ports:"),
    Stage("workers", r"Waiting (?:for )?worker processes (?:to be )?ready"),
    Stage("weights", r"Loading (?:Weights|Layers): +(?P<percent>\d+)%"),
    Stage("engine", r"Worker processes are launched with"),
    Stage("listening", r"Uvicorn running on|Launch (?:chat )?completion service at"),
    Stage("serving", r"Application startup complete"),
)
"""Of the console; PaddlePaddle/FastDeploy, fastdeploy/engine/engine.py and entrypoints/openai/."""

API = Api(running="fastdeploy:num_requests_running", waiting="fastdeploy:num_requests_waiting")

METRICS = Metrics(
    finished="fastdeploy:request_success_total",
    running=API.running,
    waiting=API.waiting,
    ttft="fastdeploy:time_to_first_token_seconds",
    tpot="fastdeploy:time_per_output_token_seconds",
    kv_used="fastdeploy:gpu_cache_usage_perc",
    prefix_rate="fastdeploy:hit_token_rate",
    port="metrics",
)
"""Source: PaddlePaddle/FastDeploy, docs/online_serving/metrics.md."""

PACKAGES = {
    "fastdeploy": ("fastdeploy-gpu", "fastdeploy-xpu"),
    "paddle": ("paddlepaddle-gpu", "paddlepaddle-xpu"),
}

FACTS = EngineFacts(
    kind="fastdeploy",
    needs=frozenset(("version", "hardware")),
    families=(("gpu", 1),),
    example_hardware="gpu-8",
    ports=PORTS,
    script="run_fastdeploy.sh",
    key_env="FD_API_KEY",
    api=API,
    metrics=METRICS,
    stages=STAGES,
    banners=("Starting servers on ports:",),
    chatter=(r'"[A-Z]+ \S+ HTTP/1\.\d" \d{3}', r"Receive request|Cache task with request_id"),
    packages=PACKAGES,
    must_agree=("fastdeploy",),
    computed=COMPUTED,
    titles=(r"fastdeploy\.", r"fastdeploy (?:serve|bench)", r"fd-router(?: |$)"),
)
