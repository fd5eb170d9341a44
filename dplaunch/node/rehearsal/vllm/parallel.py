"""Where an engine stands in its data-parallel group, read from flags or environment."""

from __future__ import annotations

import json
import zlib

from .arguments import Arguments
from .failure import FatalError

SINGLE, EXTERNAL, CONTRACT_A, OFFLINE = "single", "external", "contract-a", "offline"

# From 0.18 on: what takes part in the hash that ranks compare (vLLM's ParallelConfig.compute_hash).
HASHED = (
    "enable-expert-parallel",
    "enable-eplb",
    "eplb-config",
    "all2all-backend",
    "enable-dbo",
    "ubatch-size",
    "dbo-decode-token-threshold",
    "dbo-prefill-token-threshold",
    "expert-placement-strategy",
    "disable-nccl-for-dp-synchronization",
)


class Parallel:
    """One engine's seat. ``world`` is its own devices' count; ``mode`` is the contract that put it there."""

    def __init__(self, arguments: Arguments, env: dict[str, str], release: tuple[int, ...]) -> None:
        self.tp = arguments.get("tensor-parallel-size", 1)
        self.pp = arguments.get("pipeline-parallel-size", 1)
        self.pcp = arguments.get("prefill-context-parallel-size", 1)
        self.dcp = arguments.get("decode-context-parallel-size", 1)
        self.expert = arguments.get("enable-expert-parallel", False)
        self.world = self.tp * self.pp * self.pcp
        self.mode = _mode(arguments, env, release)
        self.size, self.rank, self.local_rank = 1, 0, 0
        self.address, self.port = "127.0.0.1", 29550
        if self.mode in (CONTRACT_A, OFFLINE):
            self._from_environment(env)
        else:
            self._from_flags(arguments)
        if not 0 <= self.rank < self.size:
            raise FatalError(
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig\n"
                f"  Value error, data_parallel_rank ({self.rank}) must be in the range [0, {self.size})"
            )
        shared = {name: arguments.get(name, None) for name in HASHED}
        shape = [self.size, self.tp, self.pp, self.pcp, self.dcp]
        text = json.dumps([shape, shared], sort_keys=True)
        self.fingerprint = f"{zlib.crc32(text.encode()):08x}" if release >= (0, 18) else ""

    @property
    def grouped(self) -> bool:
        """It must meet other processes before it can serve."""
        return self.size > 1 and self.mode != SINGLE

    @property
    def together(self) -> bool:
        """No rank serves before all have loaded; on contract A each opens its port on its own."""
        return self.mode != CONTRACT_A

    def worker(self, tensor_rank: int) -> str:
        """A worker's process name: ``Worker_DP1_TP2_EP10``."""
        name = "Worker"
        if self.size > 1:
            name += f"_DP{self.rank}"
        if self.tp > 1:
            name += f"_TP{tensor_rank}"
        if self.expert:
            name += f"_EP{self.rank * self.tp + tensor_rank}"
        return name

    @property
    def devices_from(self) -> int:
        """First device it takes among those it sees: contract A slices the node's whole list itself."""
        return self.local_rank * self.world if self.mode == CONTRACT_A else 0

    def _from_environment(self, env: dict[str, str]) -> None:
        self.size = _integer(env, "VLLM_DP_SIZE", 1)
        self.rank = _integer(env, "VLLM_DP_RANK", 0)
        self.local_rank = _integer(env, "VLLM_DP_RANK_LOCAL", self.rank)
        self.address = env.get("VLLM_DP_MASTER_IP", self.address)
        self.port = _integer(env, "VLLM_DP_MASTER_PORT", 0)

    def _from_flags(self, arguments: Arguments) -> None:
        self.size = arguments.get("data-parallel-size", 1)
        self.rank = arguments.get("data-parallel-rank", 0)
        self.address = arguments.get("data-parallel-address", self.address)
        self.port = arguments.get("data-parallel-rpc-port", self.port)


def guess_rank(arguments: Arguments, env: dict[str, str]) -> int:
    """The rank before anything is checked: the knobs need it first."""
    text = str(arguments.get("data-parallel-rank", env.get("VLLM_DP_RANK", "0")))
    return int(text) if text.isdigit() else 0


def _mode(arguments: Arguments, env: dict[str, str], release: tuple[int, ...]) -> str:
    size = arguments.get("data-parallel-size", 1)
    if release < (0, 10):
        switched = env.get("VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED", "0") not in ("", "0")
        return CONTRACT_A if switched else _unsplit(arguments, size)
    if "data-parallel-rank" in arguments.options:
        if arguments.get("data-parallel-size-local", 1) != 1:
            text = "data_parallel_size_local must be 1 or None when data_parallel_rank is set"
            raise FatalError(f"AssertionError: {text}")
        return EXTERNAL
    if arguments.get("data-parallel-external-lb", False):
        text = "data_parallel_rank or node_rank must be specified if data_parallel_external_lb is enable."
        raise FatalError(f"AssertionError: {text}")
    if size == 1 and _integer(env, "VLLM_DP_SIZE", 1) > 1:
        return OFFLINE
    return _unsplit(arguments, size)


def _unsplit(arguments: Arguments, size: int) -> str:
    """One server over all its ranks; the shapes with several are not rehearsed."""
    local = arguments.get("data-parallel-size-local", size)
    unplayed = ("headless", "data-parallel-hybrid-lb", "data-parallel-multi-port-external-lb")
    named = [name for name in unplayed if arguments.get(name, False)]
    if named or local != size:
        what = f"--{named[0]}" if named else f"--data-parallel-size-local {local} of {size}"
        raise FatalError(
            f"RuntimeError: the rehearsal engine does not play {what}; it plays one process per rank "
            "(--data-parallel-rank) or one server with all its ranks."
        )
    return SINGLE


def _integer(env: dict[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise FatalError(f"ValueError: invalid literal for int() with base 10: '{text}' ({name})") from None
