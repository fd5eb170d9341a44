"""``--kv-transfer-config`` as the engine reads it: roles, ports, and what it refuses."""

from __future__ import annotations

import math
import os

from .arguments import Arguments
from .failure import FatalError
from .log import CORE
from .machine import Machine
from .parallel import Parallel

ROLES = ("kv_producer", "kv_consumer", "kv_both")
FIELDS = """
    kv_connector kv_role engine_id kv_port kv_ip kv_buffer_device kv_buffer_size kv_parallel_size kv_rank
    kv_connector_module_path kv_load_failure_policy kv_connector_extra_config enable_permute_local_kv
"""
POLICY = "kv_load_failure_policy"
MOONCAKE = frozenset({"MooncakeConnectorV1", "MooncakeHybridConnector"})
NIXL = frozenset({"NixlConnector", "NixlPullConnector"})
DATADIST = frozenset({"LLMDataDistCMgrConnector"})
LAYERWISE = frozenset({"MooncakeLayerwiseConnector"})
OFFLOADING, NPU_SPEC = "OffloadingConnector", "NPUOffloadingSpec"
HANG, GARBAGE, CRASH, RECOMPUTE, FAIL = "hang", "garbage", "crash", "recompute", "fail"
"""What becomes of a request whose KV cannot be pulled: it waits for ever, is answered (200) from what lies in
its blocks, takes the engine with it, has its prompt computed by the decode engine, or fails."""
LEASES = (0, 22)
"""First release in which NIXL's consumers extend a lease (kv_lease_duration) by heartbeats."""
STEPS_WHILE_HELD = (0, 22)
"""First release whose engine keeps stepping, and waits to shut down, while it holds KV (vLLM #43433)."""

# Connector → first release with it, first release without it: what vllm_ascend/distributed and vLLM register.
REGISTERED = {
    "AscendHcclConnector": ((0,), (0, 10)),
    "AscendSimpleConnector": ((0,), (0, 10)),
    "LLMDataDistCMgrConnector": ((0,), (0, 12)),
    "MooncakeConnectorV1": ((0, 10, 1), (999,)),
    "MooncakeConnectorStoreV1": ((0, 11), (999,)),
    "AscendStoreConnector": ((0, 12), (999,)),
    "UCMConnector": ((0, 13), (999,)),
    "LMCacheAscendConnector": ((0, 18), (999,)),
    "MooncakeHybridConnector": ((0, 20, 2), (999,)),
    "RecomputeCPUOffloadConnector": ((0, 23), (999,)),
    "MultiConnector": ((0,), (999,)),
    "NixlConnector": ((0,), (999,)),
    "LMCacheConnectorV1": ((0,), (999,)),
    "MooncakeStoreConnector": ((0, 21), (999,)),
    "SharedStorageConnector": ((0,), (0, 13)),
    "ExampleConnector": ((0, 13), (999,)),
    "OffloadingConnector": ((0, 11), (999,)),
    "SimpleCPUOffloadConnector": ((0, 19), (999,)),
    "MooncakeLayerwiseConnector": ((0, 11), (999,)),
}


class Transfer:
    """This engine's side of the hand-over.

    ``ports``: what it listens on: the producer, with NIXL both roles, and the consumer of what is ``pushed``.
    ``on_failure``: what becomes of a request whose KV cannot be pulled. ``keep``: seconds that a producer
    holds KV which is not pulled; consumers extend it when it is ``leased``. ``lazy``: the producer notices a
    finished pull at its next request. ``handshake_limit`` and ``transfer_limit``: seconds that a consumer
    waits for a silent producer, before and after they met.
    """

    def __init__(self, config: dict[str, object], parallel: Parallel, machine: Machine) -> None:
        self.release = release = machine.release
        self.connector = str(config["kv_connector"])
        self.produces = config["kv_role"] in ("kv_producer", "kv_both")
        self.consumes = config["kv_role"] in ("kv_consumer", "kv_both")
        self.pushed = self.connector in LAYERWISE
        self.on_failure = _choose_outcome(self.connector, config, release)
        suffix = parallel.rank if release >= (0, 23) else 0
        self.engine_id = f"{config.get('engine_id') or os.urandom(16).hex()}_dp{suffix}"
        self.parallel = parallel
        self.worker = parallel.worker(0)
        self.host = machine.host
        self.port, count = _side_channel(self.connector, config, parallel, machine)
        listens = self.consumes if self.pushed else self.produces or self.connector in NIXL
        self.ports = list(range(self.port, self.port + count)) if listens else []
        if self.connector in NIXL:
            self.produces = True
            self.host = machine.env.get("VLLM_NIXL_SIDE_CHANNEL_HOST", "localhost")
        self.keep = _seconds_kept(self.connector, config, machine)
        self.handshake_limit, self.transfer_limit = _limits(self.connector, machine)
        self.leased = self.connector in NIXL and release >= LEASES
        self.lazy = release < STEPS_WHILE_HELD


def read(arguments: Arguments, parallel: Parallel, machine: Machine) -> Transfer | None:
    """The hand-over connector of these arguments, or None; raises FatalError as the engine does."""
    config = arguments.get("kv-transfer-config", {})
    if not isinstance(config, dict) or not config.get("kv_connector"):
        return None
    _check_fields(config, machine.release)
    chosen = [one for one in list_connectors(config) if _hands_over(one, machine.release)]
    return Transfer(chosen[0], parallel, machine) if chosen else None


def list_connectors(config: dict[str, object]) -> list[dict[str, object]]:
    """The connector itself, or those inside a MultiConnector, whose policy is that of the whole."""
    extra = config.get("kv_connector_extra_config")
    inner = extra.get("connectors") if isinstance(extra, dict) else None
    if config["kv_connector"] != "MultiConnector" or not isinstance(inner, list):
        return [config]
    whole = {name: config[name] for name in (POLICY,) if name in config}
    return [{**one, **whole, "kv_role": one.get("kv_role", config["kv_role"])} for one in inner]


def _check_fields(config: dict[str, object], release: tuple[int, ...]) -> None:
    fields = {name for name in FIELDS.split() if name != POLICY or release >= (0, 13)}
    unknown = sorted(set(config) - fields)
    if unknown:
        raise FatalError(
            f"TypeError: KVTransferConfig.__init__() got an unexpected keyword argument '{unknown[0]}'"
        )
    role = config.get("kv_role")
    if role is None:
        raise FatalError(
            f"ValueError: Please specify kv_role when kv_connector is set, supported roles are {ROLES}"
        )
    if role not in ROLES:
        raise FatalError(f"ValueError: Unsupported kv_role: {role}. Supported roles are {ROLES}")
    if config.get(POLICY, FAIL) not in (RECOMPUTE, FAIL):
        raise FatalError(
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for KVTransferConfig\n"
            f"{POLICY}\n  Input should be 'recompute' or 'fail' [type=literal_error, "
            f"input_value='{config[POLICY]}', input_type=str]"
        )
    module = config.get("kv_connector_module_path")
    if module and release >= (0, 15):
        raise FatalError(f"ModuleNotFoundError: No module named '{module}'", who=CORE)


def _hands_over(config: dict[str, object], release: tuple[int, ...]) -> bool:
    """True for a connector that moves KV from prefill to decode; raises FatalError for an unknown one."""
    name = str(config.get("kv_connector"))
    since, gone = REGISTERED.get(name, ((999,), (999,)))
    if not since <= release < gone and not config.get("kv_connector_module_path"):
        raise FatalError(f"ValueError: Unsupported connector type: {name}", who=CORE)
    if name in MOONCAKE:
        _check_sizes(config)
    if name == OFFLOADING:
        _check_offloading(config)
    return name in MOONCAKE | NIXL | DATADIST | LAYERWISE


def _check_offloading(config: dict[str, object]) -> None:
    """Rule of vllm-ascend's NPUOffloadingSpec, 0.13.0 to 0.25.1rc1."""
    extra = config.get("kv_connector_extra_config")
    own = extra if isinstance(extra, dict) else {}
    if own.get("spec_name") == NPU_SPEC and not own.get("num_cpu_blocks"):
        raise FatalError("Exception: num_cpu_blocks must be specified in kv_connector_extra_config", who=CORE)


def _check_sizes(config: dict[str, object]) -> None:
    """Mooncake's own rules on kv_connector_extra_config."""
    extra = config.get("kv_connector_extra_config")
    sides = [extra.get(side) if isinstance(extra, dict) else None for side in ("prefill", "decode")]
    for side in sides:
        if not isinstance(side, dict) or not {"tp_size", "dp_size"} <= set(side):
            raise FatalError("AssertionError", who=CORE)
    prefill, decode = (side for side in sides if isinstance(side, dict))
    if prefill["tp_size"] < decode["tp_size"]:
        raise FatalError(
            f"ValueError: prefill_tp_size: {prefill['tp_size']} must be greater than or equal to the "
            f"decode_tp_size: {decode['tp_size']}",
            who=CORE,
        )
    if decode.get("pp_size", 1) != 1:
        raise FatalError("AssertionError", who=CORE)


def _side_channel(
    connector: str, config: dict[str, object], parallel: Parallel, machine: Machine
) -> tuple[int, int]:
    """(first port, how many): one per device from the group's base on, by rank; with NIXL one a rank."""
    if connector in NIXL:
        base = _number(machine.env.get("VLLM_NIXL_SIDE_CHANNEL_PORT", "5600"))
        return base + parallel.rank, parallel.local
    if connector in DATADIST:
        _check_rank_table(machine.env)
        name = "VLLM_LLMDD_RPC_PORT" if machine.release < (0, 10) else "VLLM_ASCEND_LLMDD_RPC_PORT"
        base = _number(machine.env.get(name, "5557"))
        return base + parallel.rank * parallel.tp, parallel.local * parallel.tp
    width = parallel.world if machine.release >= (0, 12) and connector not in LAYERWISE else parallel.tp
    return _number(config.get("kv_port", 14579)) + parallel.rank * width, width * parallel.local


def _check_rank_table(env: dict[str, str]) -> None:
    """The variable must be set; the file itself lies on the real nodes and is not asked for."""
    if not env.get("DISAGGREGATED_PREFILL_RANK_TABLE_PATH"):
        text = "Please set path of rank table to env variable DISAGGREGATED_PREFILL_RANK_TABLE_PATH"
        raise FatalError(f"ValueError: {text}", who=CORE)


def _choose_outcome(connector: str, config: dict[str, object], release: tuple[int, ...]) -> str:
    """What becomes of a request whose KV cannot be pulled, as read in the connectors."""
    if connector in DATADIST:
        return HANG
    if connector in MOONCAKE and release < (0, 20, 2):
        return GARBAGE
    if connector in NIXL and release < (0, 12):
        return CRASH
    default = FAIL if release >= (0, 17) else RECOMPUTE
    return str(config.get(POLICY, default))


def _seconds_kept(connector: str, config: dict[str, object], machine: Machine) -> float:
    """Seconds a producer keeps KV that is not pulled; the variable's name changed often."""
    release = machine.release
    if connector in NIXL and release >= LEASES:
        extra = config.get("kv_connector_extra_config")
        return float(_number(extra.get("kv_lease_duration", 30) if isinstance(extra, dict) else 30))
    if release < (0, 10):
        name, default = "VLLM_LLMDD_ABORT_REQUEST_TIMEOUT", "120"
    elif release < (0, 11):
        name, default = "VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT", "250"
    elif release < (0, 18) or connector in NIXL:
        name, default = "VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "480" if release >= (0, 12) else "120"
    else:
        name, default = "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "480"
    return float(machine.env.get(name, default))


def _limits(connector: str, machine: Machine) -> tuple[float, float]:
    """(handshake, transfer): NIXL waits 5 s, later for ever; Mooncake three times 1 s, later its time-out."""
    if connector in MOONCAKE:
        return 3.2, float(machine.env.get("ASCEND_TRANSFER_TIMEOUT") or 33064) / 1000
    if connector in NIXL and machine.release >= (0, 12):
        return 5.0, math.inf
    return math.inf, math.inf


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise FatalError(f"ValueError: invalid literal for int() with base 10: '{value}'", who=CORE) from None
