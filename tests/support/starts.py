"""Start-up logs made up line by line, with both forms of vLLM's time: ``09-24 20:59:57`` and with year and fraction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from dplaunch.engines.vllm import facts
from dplaunch.model.timeline import StartLog

BEGAN = datetime(2026, 9, 24, 12, 59, 50, tzinfo=timezone.utc)
TEXTS = {
    "arguments": "vLLM API server version 0.18.0",
    "waiting for its group": "Waiting for init message from front-end.",
    "engine": "Initializing a V1 LLM engine (v0.18.0) with config: model='m'",
    "rendezvous": "rank 0 in world size 8 is assigned as DP rank 0, PP rank 0, TP rank 0",
    "weights": "Starting to load model m...",
    "memory": "Loading model weights took 41.9372 GB",
    "KV cache": "Available KV cache memory: 11.62 GiB",
    "graphs": "Starting to capture ACL graphs, cudagraph_mode: FULL_DECODE_ONLY",
    "HTTP server": "init engine (profile, create kv cache, warmup model) took 3.16 seconds",
    "listening": "Starting vLLM server on http://0.0.0.0:9000",
}
STAGES = facts.STAGES
SERVING = "(APIServer pid=7) INFO:     Application startup complete."


def line(stage: str, after: float, *, hours: int = 8, fine: bool = False, began: datetime = BEGAN) -> str:
    """A stage's line, ``after`` seconds from the start, in local time of a zone ``hours`` ahead of UTC."""
    at = began + timedelta(seconds=after, hours=hours)
    clock = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}" if fine else f"{at:%m-%d %H:%M:%S}"
    return f"(EngineCore_DP0 pid=7) INFO {clock} [core.py:77] {TEXTS[stage]}"


def log(process: str, node: str, lines: Sequence[str], *, began: datetime | None = BEGAN) -> StartLog:
    """An engine's start; its group is ``ROLE/0``."""
    role = process.rpartition("-")[0]
    started = began.timestamp() if began else None
    return StartLog(
        process=process,
        role=role,
        group=f"{role}/0",
        node=node,
        started_at=started,
        lines=tuple(lines),
    )


def start(
    process: str, node: str, took: dict[str, float], *, known: bool = True, fine: bool = True
) -> StartLog:
    """A start that begins its stages so many seconds after one another, the first counted from its exec."""
    after, lines = 0.0, []
    for stage, seconds in took.items():
        after += seconds
        lines.append(line(stage, after, fine=fine))
    return log(process, node, [*lines, SERVING], began=BEGAN if known else None)
