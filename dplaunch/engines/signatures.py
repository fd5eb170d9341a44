"""Log lines that explain why an engine died, most telling first (facts §8.3, §8.4)."""

from __future__ import annotations

from dplaunch.model.plan import Signature

_VERSION_FLAG = "the flag belongs to another vLLM version; remove it from args, or correct engine.version"
_LEFTOVER = "something else holds the port: `dplaunch down` if it is an old run, else choose other ports"

VLLM = (
    Signature(r"unrecognized arguments:", "vLLM does not know a flag", _VERSION_FLAG),
    Signature(
        r"assert self\.stats_update_address is not None",
        "VLLM_DP_* variables without --data-parallel-* flags: vLLM took its offline mode",
        "remove VLLM_DP_* from env and scripts; from 0.10 on the layout is given by flags",
    ),
    Signature(
        r"assert \"(?:tp|dp)_size\" in",
        "kv_connector_extra_config lacks the sizes of prefill and decode",
        "let dplaunch compute it: kv_transfer with the connector alone",
    ),
    Signature(
        r"must be greater than or equal to the decode_tp_size",
        "tp of prefill is smaller than tp of decode",
        "raise tp of prefill, or lower tp of decode",
    ),
    Signature(
        r"Unsupported connector type",
        "this engine version has no such KV connector",
        "`dplaunch validate` lists those it has",
    ),
    Signature(
        r"Conflict engine id",
        "both sides carry the same engine_id",
        "remove engine_id from kv_transfer.extra",
    ),
    Signature(
        r"Message from engine with unexpected data parallel rank",
        "a rank joined twice, or an engine of an old run still connects",
        "`dplaunch down`, then `dplaunch up`",
    ),
    Signature(
        r"Configuration mismatch detected for engine",
        "ranks of one group run with different flags",
        "make args, env and engine versions equal within the group",
    ),
    Signature(
        r"data_parallel_rank \(\d+\) must be in the range",
        "a rank is not below the group's size",
        "start through dplaunch, or check the arguments given to the script",
    ),
    Signature(
        r"must (?:not )?use --headless",
        "internal and external load balancing are mixed in one group",
        "remove --headless from the script",
    ),
    Signature(
        r"Did not receive response from front-end process within 5 minutes",
        "rank 0 was not reached at the group's address and rpc port",
        "check that rank 0 started, and that no firewall is between the nodes (other ports are random)",
    ),
    Signature(
        r"Timed out waiting for engines to send initial message",
        "an engine took longer than VLLM_ENGINE_READY_TIMEOUT_S",
        "raise ready_timeout in the cluster file",
    ),
    Signature(
        r"Unable to find (?:address|interface) for:|No interface of \S+ carries|Several interfaces of",
        "the network interface is not the one that carries the node's address",
        "correct address or nic of the node in the cluster file",
    ),
    Signature(r"port \S+ is used by process|Address already in use", "a port is taken", _LEFTOVER),
    Signature(
        r"World size \(\d+\) is larger than the number of available",
        "the engine needs more devices than it may see",
        "check tp and pp, and that the node has the devices the cluster file says",
    ),
    Signature(
        r"NPU out of memory|CUDA out of memory|No available memory for the cache blocks",
        "device memory does not suffice",
        "look for a leftover process on the device; else lower gpu-memory-utilization or max-num-seqs",
    ),
    Signature(
        r"insufficient available streams",
        "graph capture ran out of device streams",
        "capture fewer sizes in compilation-config",
    ),
    Signature(
        r"HCCL BUFFSIZE is too small|EI0007",
        "HCCL's buffer or resources are too small for this batch",
        "raise HCCL_BUFFSIZE of the role",
    ),
    Signature(
        r"dcmi mod\w+ initialize\w* failed",
        "the device is held by another container, or this container lacks privileges",
        "stop the other container, or start this one with the devices",
    ),
    Signature(
        r"Mooncake memory registration failed|TransferEngine initialization failed",
        "Mooncake could not start its transfer engine",
        "compare Mooncake and CANN versions of the nodes",
    ),
    Signature(
        r"\b10390[02]\b|Mooncake transfer failed",
        "the other side of the KV transfer was not reached",
        "check the device network between prefill and decode nodes",
    ),
    Signature(r"\bEI0008\b", "CANN versions differ between nodes", "install the same CANN on every node"),
    Signature(r"\bEI0004\b|\bEI0014\b", "the rank table is not valid", "make it again with gen_ranktable.sh"),
    Signature(
        r"\bEI0009\b|\bEJ0002\b|\bEJ0003\b|\bEJ0004\b",
        "the device network could not be set up",
        "check link, address and cabling of the device with hccn_tool",
    ),
    Signature(
        r"\bEI0019\b|\bEI0020\b",
        "HCCL could not listen on its host or device port",
        "reserve ports 60000-60031 (net.ipv4.ip_local_reserved_ports), or look for a second run",
    ),
    Signature(r"\bEJ0001\b", "an earlier process still holds the device", "wait ten seconds, then try again"),
    Signature(
        r"\bEI0006\b|\bEI0015\b|\bEI0002\b|Connection reset by peer|Broken pipe",
        "another rank did not answer",
        "look at the rank that failed first",
    ),
    Signature(
        r"\bERROR\b.*No such file or directory|Repository Not Found|is not a local folder and is not a",
        "the model was not found on this node",
        "check model in the cluster file, and that every node has the weights at that path",
    ),
    Signature(
        r"vllm: (?:command )?not found|No module named '?vllm",
        "vLLM is not installed where the engine runs",
        "add what activates it to runtime.setup, or name the container in runtime.container",
    ),
)
