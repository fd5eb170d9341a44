"""Where an engine stands in its data-parallel group, read from flags or environment."""

from __future__ import annotations

import json
import zlib

from .arguments import Arguments
from .failure import FatalError

SINGLE, EXTERNAL, CONTRACT_A, OFFLINE = "single", "external", "contract-a", "offline"
HYBRID, INTERNAL, SPREAD = "hybrid", "internal", "spread"
START_MEANS_HYBRID = (0, 28)
"""First release in which --data-parallel-start-rank of a process with a server means hybrid balancing."""

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
    """One process's place: ``local`` ranks from ``rank`` on. ``mode`` is the contract that put it there.

    ``world`` counts the devices of one rank; of these are ``local_world`` here, where ``parts`` nodes share a
    rank and this is number ``part``.
    """

    def __init__(self, arguments: Arguments, env: dict[str, str], release: tuple[int, ...]) -> None:
        self.tp = arguments.get("tensor-parallel-size", 1)
        self.pp = arguments.get("pipeline-parallel-size", 1)
        self.pcp = arguments.get("prefill-context-parallel-size", 1)
        self.dcp = arguments.get("decode-context-parallel-size", 1)
        self.expert = arguments.get("enable-expert-parallel", False)
        self.world = self.tp * self.pp * self.pcp
        self.mode = _mode(arguments, env, release)
        self.size, self.rank, self.local_rank, self.local = 1, 0, 0, 1
        self.parts, self.part = 1, 0
        self.headless = arguments.get("headless", False)
        self.address, self.port = "127.0.0.1", 29550
        if self.mode in (CONTRACT_A, OFFLINE):
            self._from_environment(env)
        else:
            self._from_flags(arguments)
        _check_headless(arguments, self.mode)
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
        return self.members > self.width and self.mode != SINGLE

    @property
    def members(self) -> int:
        """What its group consists of: ranks, or parts of one."""
        return self.parts if self.mode == SPREAD else self.size

    @property
    def place(self) -> int:
        """Its first rank, or its part."""
        return self.part if self.mode == SPREAD else self.rank

    @property
    def width(self) -> int:
        """How many of the members it is."""
        return 1 if self.mode == SPREAD else self.local

    @property
    def ranks(self) -> range:
        """Those that it computes with."""
        return range(self.rank, self.rank + self.local)

    @property
    def answers_for(self) -> range:
        """Ranks behind its server."""
        return range(self.size) if self.mode == INTERNAL else self.ranks

    @property
    def local_world(self) -> int:
        """Devices that one of its ranks takes on this node."""
        return int(self.world // self.parts)

    @property
    def together(self) -> bool:
        """No rank serves before all have loaded; on contract A each opens its port on its own."""
        return self.mode != CONTRACT_A

    def worker(self, tensor_rank: int, rank: int = -1) -> str:
        """A worker's process name, of the first rank here if none is given: ``Worker_DP1_TP2_EP10``."""
        name, rank = "Worker", self.rank if rank < 0 else rank
        if self.size > 1:
            name += f"_DP{rank}"
        if self.tp > 1:
            name += f"_TP{tensor_rank}"
        if self.expert:
            name += f"_EP{rank * self.tp + tensor_rank}"
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
        self.address = arguments.get("data-parallel-address", self.address)
        self.port = arguments.get("data-parallel-rpc-port", self.port)
        if self.mode == EXTERNAL:
            self.rank = arguments.get("data-parallel-rank", arguments.get("data-parallel-start-rank", 0))
        else:
            self.rank = arguments.get("data-parallel-start-rank", 0)
            self.local = arguments.get("data-parallel-size-local", self.size)
        if self.mode == SPREAD:
            self.parts, self.part = arguments.get("nnodes", 1), arguments.get("node-rank", 0)
            self.address = arguments.get("master-addr", "127.0.0.1")
            self.port = arguments.get("master-port", 29501)
            if self.world % self.parts:
                world = f"world size ({self.world})"
                text = f"`--nnodes {self.parts}` must evenly divide the total {world}."
                raise FatalError(f"ValueError: {text} Adjust `--nnodes`, `--tensor-parallel-size`")


def guess_rank(arguments: Arguments, env: dict[str, str]) -> int:
    """The rank before anything is checked: the knobs need it first."""
    given = arguments.get("data-parallel-rank", arguments.get("data-parallel-start-rank", None))
    text = str(env.get("VLLM_DP_RANK", "0") if given is None else given)
    return int(text) if text.isdigit() else 0


def _mode(arguments: Arguments, env: dict[str, str], release: tuple[int, ...]) -> str:
    size = arguments.get("data-parallel-size", 1)
    if release < (0, 10):
        switched = env.get("VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED", "0") not in ("", "0")
        return CONTRACT_A if switched else _divided(arguments, size, release)
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
    return _divided(arguments, size, release)


def _divided(arguments: Arguments, size: int, release: tuple[int, ...]) -> str:
    """Who balances over the ranks, where a process may have several."""
    if arguments.get("nnodes", 1) > 1:
        return SPREAD
    headless, local = arguments.get("headless", False), arguments.get("data-parallel-size-local", None)
    hybrid = arguments.get("data-parallel-hybrid-lb", False)
    if release >= START_MEANS_HYBRID and not headless and local is not None:
        hybrid = hybrid or "data-parallel-start-rank" in arguments.options
    if hybrid and local is None:
        text = "data_parallel_size_local must be set to use data_parallel_hybrid_lb."
        raise FatalError(f"AssertionError: {text}")
    if local in (None, size) and not headless:
        return SINGLE
    if hybrid and not headless:
        return EXTERNAL if local == 1 else HYBRID
    if not headless and arguments.get("data-parallel-start-rank", 0):
        raise FatalError("AssertionError")  # assert parallel_config.local_engines_only or dp_rank == 0
    return INTERNAL


def _check_headless(arguments: Arguments, mode: str) -> None:
    """Raise FatalError where ``--headless`` stands beside what needs a server."""
    if not arguments.get("headless", False):
        return
    servers = arguments.get("api-server-count", 0)
    if servers > 0:
        why = "(no API servers are started in headless mode)"
        raise FatalError(f"ValueError: --api-server-count={servers} cannot be used with --headless {why}.")
    if arguments.get("data-parallel-hybrid-lb", False):
        raise FatalError("ValueError: data_parallel_hybrid_lb is not applicable in headless mode")
    if mode == EXTERNAL:
        raise FatalError("AssertionError")


def _integer(env: dict[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise FatalError(f"ValueError: invalid literal for int() with base 10: '{text}' ({name})") from None
