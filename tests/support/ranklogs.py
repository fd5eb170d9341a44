"""Logs of a group as vLLM-Ascend writes them: a start-up without trouble, and what ranks say when another failed."""

from collections.abc import Sequence

STARTUP = """\
(APIServer pid={pid}) INFO 04-25 10:00:{second:02} [api_server.py:1289] vLLM API server version 0.23.0
(APIServer pid={pid}) INFO 04-25 10:00:{second:02} [cli_args.py:300] non-default args: {{'port': 9000, 'model': 'm'}}
WARNING 04-25 10:00:{second:02} [utils.py:1] Found ulimit of 20000 and failed to raise it: [Errno 24] Too many open files
(EngineCore_DP{rank} pid={pid}) INFO 04-25 10:00:{second:02} [core.py:438] Waiting for init message from front-end.
(EngineCore_DP{rank} pid={pid}) INFO 04-25 10:00:{second:02} [core.py:76] Initializing a V1 LLM engine (v0.23.0) with config: model='m'
[W425 10:00:31.164 compiler_depend.ts:117] Warning: Driver Version: is invalid or not supported yet. (function operator())
[Gloo] Rank {rank} is connected to 63 peer ranks. Expected number of connected peer ranks is : 63
(Worker_DP{rank}_EP{rank} pid={pid}) INFO 04-25 10:00:32 [parallel_state.py:1208] rank {rank} in world size 64 is assigned as DP rank {rank}
(Worker_DP{rank}_EP{rank} pid={pid}) INFO 04-25 10:00:33 [model_runner_v1.py:2000] Starting to load model m...
Loading safetensors checkpoint shards: 100% Completed | 11/11 [00:03<00:00]
(Worker_DP{rank}_EP{rank} pid={pid}) INFO 04-25 10:01:02 [model_runner_v1.py:2030] Loading model weights took 42.1234 GB
(EngineCore_DP{rank} pid={pid}) INFO 04-25 10:01:05 [kv_cache_utils.py:800] GPU KV cache size: 212,992 tokens
""".splitlines()
STATS = "(APIServer pid={pid}) INFO 04-25 10:01:{second:02} [loggers.py:123] Engine 000: Avg prompt throughput: 0.0 tokens/s"

FOLLOWS = """\
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596] WorkerProc hit an exception.
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596] Traceback (most recent call last):
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596]   File "/usr/lib/vllm/v1/worker.py", line 207, in execute_model
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596]     output = func(*args, **kwargs)
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596]              ^^^^^^^^^^^^^^^^^^^^^
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596] RuntimeError: HCCL function error: HcclAllGather, error code is 6
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596] [ERROR] 2026-04-25-10:01:{second:02} (PID:{pid}, Device:0, RankID:-1) ERR02200 DIST call hccl api failed.
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596] EI0006: [PID: {pid}] 2026-04-25-10:01:{second:02}.335.888 Getting socket times out. Reason: Remote Rank did not send the data in time.
(Worker_DP{rank}_EP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [multiproc_executor.py:596]         Solution: 1. Check the rank service processes with other errors or no errors in the cluster.
(EngineCore_DP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [core.py:790] EngineCore encountered a fatal error.
(EngineCore_DP{rank} pid={pid}) ERROR 04-25 10:01:{second:02} [core.py:790] RuntimeError: [tcp/pair.cc:534] Connection closed by peer [192.0.2.5]:43210
(APIServer pid={pid}) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore_DP{rank}': 1}}
""".splitlines()


def quiet(rank: int) -> list[str]:
    """A start-up in which nothing goes wrong, until 10:01:14."""
    facts = {"rank": rank, "pid": 4000 + rank, "second": rank % 20}
    return [line.format(**facts) for line in STARTUP] + [
        STATS.format(pid=4000 + rank, second=second) for second in (5, 8, 11, 14)
    ]


def following(rank: int) -> list[str]:
    """Such a start-up, and then only what follows from another rank's failure, from 10:01:30 on."""
    facts = {"rank": rank, "pid": 4000 + rank, "second": 30 + rank % 25}
    return quiet(rank) + [line.format(**facts) for line in FOLLOWS]


def failing(rank: int, excerpt: Sequence[str]) -> list[str]:
    """Such a start-up, these lines of 10:01:17, and then what every rank logs."""
    return [*quiet(rank), *excerpt, *following(rank)[len(quiet(rank)) :]]
