"""What an engine logs when KV cannot be pulled, or is not pulled in time: connector by connector.

Read in vLLM 0.10 to 0.32 (``kv_connector/v1/nixl*``) and vllm-ascend 0.9.1 to 0.25
(``mooncake_connector.py``, ``llmdatadist_c_mgr_connector.py``); NIXL's lines in 0.32 are those of real runs.
"""

from __future__ import annotations

from .transfer import MOONCAKE, NIXL, Transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .log import Log

HANDSHAKE, TRANSFER = "handshake", "transfer"
"""Where a pull fails: while the engines meet for the first time, or later."""


class PullError(Exception):
    """The KV of a request could not be pulled. ``why`` is the exception to log; "" is the usual one."""

    def __init__(self, stage: str, why: str = "") -> None:
        super().__init__(why)
        self.stage = stage
        self.why = why


def report_failure(
    log: Log, transfer: Transfer, failure: PullError, request: str, params: dict[str, object]
) -> None:
    """Log a failed pull as the worker of this connector and release does."""
    if transfer.connector in NIXL:
        _report_nixl(log, transfer, failure, request, params)
    elif transfer.connector in MOONCAKE:
        _report_mooncake(log, transfer, failure, params)
    else:
        why = failure.why or (
            "LLMDataDistCMgrConnectorWorker: Timeout during pull_blocks, you can try to increase the "
            "sync_kv_timeout config or checking your connect status"
        )
        log.error(transfer.worker, "llmdatadist_c_mgr_connector.py:620", f"KV transfer task failed: {why}")


def last_line(transfer: Transfer, failure: PullError) -> str:
    """The exception that a failed pull ends with."""
    if failure.why:
        return failure.why
    if failure.stage == HANDSHAKE:
        return "zmq.error.Again: Resource temporarily unavailable"
    if transfer.release < (0, 12):
        return "RuntimeError: ('Transfer failed with state %s', 'ERR')"
    return "nixl_cu12._bindings.nixlRemoteDisconnectError: NIXL_ERR_REMOTE_DISCONNECT"


def _report_nixl(
    log: Log, transfer: Transfer, failure: PullError, request: str, params: dict[str, object]
) -> None:
    place = "pull_worker.py:562" if transfer.release >= (0, 30) else "nixl_connector.py:1453"
    engine = params.get("remote_engine_id")
    if transfer.release < (0, 14):
        if failure.stage == HANDSHAKE:
            heads = [f"Handshake with {engine} failed"]
        else:
            heads = [f"NIXL transfer failed for request {request} with state ERR. Marking blocks as invalid."]
    else:
        known = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port")
        context = {"request_id": request, **{name: params.get(name) for name in known}}
        kinds = ["transfer_failed"]
        if failure.stage == HANDSHAKE:
            kinds = ["handshake_setup_failed", "handshake_failed"]
        heads = [
            f"NIXL transfer failure: {kind} | Context: {{'failure_type': '{kind}', {str(context)[1:]}"
            for kind in kinds
        ]
    for head in heads:
        text = f"{head}\nTraceback (most recent call last):\n{last_line(transfer, failure)}"
        log.error(transfer.worker, place, text)


def _report_mooncake(log: Log, transfer: Transfer, failure: PullError, params: dict[str, object]) -> None:
    place, request = "mooncake_connector.py:726", params.get("remote_request_id")
    if failure.stage == HANDSHAKE:
        why = failure.why or "Failed to receive data after 3 retries: Resource temporarily unavailable"
    else:
        why = failure.why or "Mooncake transfer failed, ret: -1"
        log.error(transfer.worker, place, f"Mooncake transfer failed for request {request}")
    log.error(transfer.worker, place, f"Failed to transfer KV cache for request {request}: {why}")


def report_expiry(log: Log, transfer: Transfer, request: str) -> None:
    """Log that a prefill engine freed KV which was not pulled in time."""
    worker, keep = transfer.worker, f"{transfer.keep:g}"
    if transfer.connector in NIXL:
        late = "0 remote worker(s) before lease expired."
        if not transfer.leased:
            late = f"0 decode worker(s) within {keep} seconds."
        text = f"Releasing expired KV blocks for request {request} which were retrieved by {late}"
        log.warning(worker, "base_worker.py:3032", text)
    elif transfer.release < (0, 21):
        log.info(worker, "mooncake_connector.py:180", f"Force freed request: {request}")
    else:
        text = (
            f"Force freed expired request: {request}. Reason: Request exceeded timeout threshold ({keep} "
            "seconds). Action: Resources have been forcibly released to prevent memory leak."
        )
        log.error(worker, "mooncake_connector.py:234", text)
